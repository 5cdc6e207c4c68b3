// fp32 matrix product on the shapes of ViT-S and ViT-B, one thread, as a fraction of the FMA rate measured in the same
// moment. Columns: GFLOPS and peak_GFLOPS (means), of_peak (best time of each), of_peak_mean.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "base/aligned_buffer.h"
#include "base/random.h"
#include "bench/fma_peak.h"
#include "kernels/table.h"

namespace {

struct Shape {
  int rows, k, n;
};
constexpr Shape kShapes[] = {{197, 384, 1152}, {197, 384, 384},  {197, 384, 1536}, {197, 1536, 384}, {65, 384, 1536},
                             {197, 768, 3072}, {197, 3072, 768}, {197, 64, 197},   {197, 197, 64},   {1, 384, 1000}};

igq::AlignedBuffer<float> random_values(std::size_t count) {
  igq::Random random(count);
  igq::AlignedBuffer<float> values(count);
  for (float& v : values) v = static_cast<float>(random.uniform() - 0.5);
  return values;
}

void gemm(benchmark::State& state, Shape s, igq::Isa isa) {
  const auto& kernels = igq::kernels::kernels_for(isa);
  const int panels = (s.n + igq::kernels::kFloatPanel - 1) / igq::kernels::kFloatPanel;
  const auto x = random_values(std::size_t(s.rows) * s.k), w = random_values(std::size_t(s.k) * s.n);
  auto packed = random_values(std::size_t(panels) * 16 * s.k), y = random_values(std::size_t(s.rows) * s.n);
  kernels.pack_f32(w.data(), s.n, false, s.k, s.n, packed.data());
  const double flops = 2.0 * s.rows * s.k * s.n;
  const int repeats = std::max(1, static_cast<int>(2e7 / flops));
  double best = 1, best_peak = 1, total = 0, total_peak = 0;
  for (auto _ : state) {
    const double peak = igq::bench::fma_seconds_per_flop(isa, 10'000'000);
    const double begin = igq::bench::thread_seconds();
    for (int i = 0; i < repeats; ++i)
      kernels.gemm_f32({.x = x.data(),
                        .ldx = s.k,
                        .rows = s.rows,
                        .k = s.k,
                        .packed = packed.data(),
                        .panel_begin = 0,
                        .panel_end = panels,
                        .n = s.n,
                        .bias = nullptr,
                        .accumulate = false,
                        .y = y.data(),
                        .ldy = s.n});
    const double spent = igq::bench::thread_seconds() - begin;
    state.SetIterationTime(spent / repeats);
    best = std::min(best, spent / (repeats * flops));
    best_peak = std::min(best_peak, peak);
    total += spent / (repeats * flops);
    total_peak += peak;
  }
  const auto rounds = static_cast<double>(state.iterations());
  state.counters["GFLOPS"] = 1e-9 * rounds / total;
  state.counters["peak_GFLOPS"] = 1e-9 * rounds / total_peak;
  state.counters["of_peak"] = best_peak / best;
  state.counters["of_peak_mean"] = total_peak / total;
}

}  // namespace

int main(int argc, char** argv) {
  for (igq::Isa isa : igq::supported_isas()) {
    // Others have the float kernels of one of these.
    if (igq::isa_name(isa) != "avx2" && igq::isa_name(isa) != "avx512") continue;
    for (const Shape& s : kShapes) {
      const std::string name = std::string(igq::isa_name(isa)) + "/" + std::to_string(s.rows) + "x" +
                               std::to_string(s.k) + "x" + std::to_string(s.n);
      benchmark::RegisterBenchmark(name.c_str(), gemm, s, isa)->UseManualTime()->Iterations(60);
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
