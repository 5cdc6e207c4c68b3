#include "bench/byte_peak.h"

#include "bench/fma_peak.h"

namespace igq::bench {
namespace {

constexpr int kChains = 12;  // 2 pipes * 4 to 5 cycles of latency, rounded up; fits 16 registers

// Written as instructions on named registers: compilers keep an array of sums in memory.
#define IGQ_TWELVE(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11)
#define IGQ_LOOP(op)                                                                                              \
  for (std::int64_t r = 0; r < rounds; ++r)                                                                       \
  __asm__ volatile(IGQ_TWELVE(op)::                                                                               \
                       : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                         "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define IGQ_DOT512(i) "vpdpbusd %%zmm15, %%zmm15, %%zmm" #i "\n\t"
#define IGQ_DOT256(i) "%{vex%} vpdpbusd %%ymm15, %%ymm15, %%ymm" #i "\n\t"
#define IGQ_WORDS512(i) "vpmaddwd %%zmm15, %%zmm15, %%zmm14\n\tvpaddd %%zmm14, %%zmm" #i ", %%zmm" #i "\n\t"
#define IGQ_WORDS256(i) "vpmaddwd %%ymm15, %%ymm15, %%ymm14\n\tvpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"

[[gnu::target("avx512f,avx512vnni"), gnu::noinline]] void burn_dot512(std::int64_t rounds) { IGQ_LOOP(IGQ_DOT512); }
[[gnu::target("avx2"), gnu::noinline]] void burn_dot256(std::int64_t rounds) { IGQ_LOOP(IGQ_DOT256); }
[[gnu::target("avx512f,avx512bw"), gnu::noinline]] void burn_words512(std::int64_t rounds) { IGQ_LOOP(IGQ_WORDS512); }
[[gnu::target("avx2"), gnu::noinline]] void burn_words256(std::int64_t rounds) { IGQ_LOOP(IGQ_WORDS256); }

/// Four tiles of sums in turn, as the product kernel has them; twelve instructions a round like the others.
[[gnu::noinline]] void burn_tiles(std::int64_t rounds) {
  struct alignas(64) {
    std::uint8_t palette = 1, start = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  __asm__ volatile("ldtilecfg %0" ::"m"(shapes));
  for (std::int64_t r = 0; r < 3 * rounds; ++r)
    __asm__ volatile(
        "tdpbusd %tmm6, %tmm4, %tmm0\n\ttdpbusd %tmm7, %tmm4, %tmm1\n\ttdpbusd %tmm6, %tmm5, %tmm2\n\ttdpbusd %tmm7, "
        "%tmm5, %tmm3");
  __asm__ volatile("tilerelease");
}

struct Burner {
  void (*run)(std::int64_t);
  int products_per_instruction;
};

Burner burner_of(Isa isa) {
  const std::string_view name = isa_name(isa);
  if (name == "amx") return {burn_tiles, 16384};
  if (name == "avx512-vnni") return {burn_dot512, 64};
  if (name == "avx-vnni") return {burn_dot256, 32};
  if (name == "avx512") return {burn_words512, 32};
  return {burn_words256, 16};
}

}  // namespace

double byte_seconds_per_product(Isa isa, std::int64_t products) {
  const Burner burner = burner_of(isa);
  const std::int64_t per_round = kChains * burner.products_per_instruction;
  const std::int64_t rounds = products / per_round + 1;
  const double begin = thread_seconds();
  burner.run(rounds);
  return (thread_seconds() - begin) / static_cast<double>(rounds * per_round);
}

}  // namespace igq::bench
