#include "bench/fma_peak.h"

#include <benchmark/benchmark.h>
#include <immintrin.h>

namespace igq::bench {
namespace {

constexpr int kChains = 12;  // 2 pipes * 4 to 5 cycles of latency, rounded up; fits 16 registers

[[gnu::target("avx2,fma"), gnu::noinline]] float burn_avx2(std::int64_t rounds, float seed) {
  __m256 sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(seed), b = _mm256_set1_ps(0.5F);
  for (std::int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = _mm256_fmadd_ps(sum[i], b, a);
  for (int i = 1; i < kChains; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

[[gnu::target("avx512f"), gnu::noinline]] float burn_avx512(std::int64_t rounds, float seed) {
  __m512 sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(seed), b = _mm512_set1_ps(0.5F);
  for (std::int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = _mm512_fmadd_ps(sum[i], b, a);
  for (int i = 1; i < kChains; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

}  // namespace

double fma_seconds_per_flop(Isa isa, std::int64_t flops) {
  const bool wide = isa_name(isa).starts_with("avx512") || isa_name(isa) == "amx";
  const std::int64_t per_round = kChains * (wide ? 32 : 16);
  const std::int64_t rounds = flops / per_round + 1;
  const double begin = thread_seconds();
  benchmark::DoNotOptimize((wide ? burn_avx512 : burn_avx2)(rounds, 1.0F));
  return (thread_seconds() - begin) / static_cast<double>(rounds * per_round);
}

}  // namespace igq::bench
