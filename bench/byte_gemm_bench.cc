// The byte product on the layer shapes of DeiT-S and DeiT-B at 197 tokens, one thread, as a fraction of the rate of
// byte products measured in the same moment. "gemm": the products alone, over panels packed before; "layer": panels
// gathered for the image as well, as an integer layer with per-image groups does it. Columns as in gemm_f32_bench.cc.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/random.h"
#include "bench/byte_peak.h"
#include "bench/fma_peak.h"
#include "kernels/table.h"

namespace {

using igq::kernels::kBytePanel;

struct Shape {
  int rows, k, n;
};
constexpr Shape kShapes[] = {{197, 384, 1152}, {197, 384, 384}, {197, 384, 1536}, {197, 1536, 384},
                             {197, 768, 2304}, {197, 768, 768}, {197, 768, 3072}, {197, 3072, 768}};

/// One layer: codes in slot order, weights, `groups` groups of equal size whose channels are strewn over the layer.
struct Layer {
  Shape shape;
  int groups, slots = 0;
  igq::AlignedBuffer<std::uint8_t> codes;
  igq::AlignedBuffer<std::int8_t> weights;
  std::vector<std::int32_t> order, group_end;
  std::vector<std::int16_t> zero;
  std::vector<float> group_scale;
  igq::AlignedBuffer<float> row_sum, col, y;
  std::vector<igq::AlignedBuffer<std::byte>> panels;
  std::vector<igq::AlignedBuffer<std::int32_t>> corrections;

  Layer(Shape s, int g, const igq::kernels::Kernels& kernels) : shape(s), groups(g) {
    igq::Random random(1);
    const auto rows = static_cast<std::size_t>(s.rows), k = static_cast<std::size_t>(s.k),
               n = static_cast<std::size_t>(s.n);
    weights.resize(k * n);
    for (auto& w : weights) w = static_cast<std::int8_t>(static_cast<int>(random.below(256)) - 128);
    std::vector<std::int32_t> channels(k);
    std::iota(channels.begin(), channels.end(), 0);
    if (g > 1)
      for (std::size_t i = k - 1; i > 0; --i) std::swap(channels[i], channels[random.below(i + 1)]);
    const std::size_t align = g == 1 ? igq::kernels::kGroupAlign : static_cast<std::size_t>(kernels.group_align);
    for (std::size_t i = 0; i < static_cast<std::size_t>(g); ++i) {
      for (std::size_t c = k * i / static_cast<std::size_t>(g); c < k * (i + 1) / static_cast<std::size_t>(g); ++c)
        order.push_back(channels[c]);
      while (order.size() % align != 0) order.push_back(-1);
      group_end.push_back(static_cast<std::int32_t>(order.size()));
      group_scale.push_back(0.01F);
    }
    slots = static_cast<int>(order.size());
    zero.assign(order.size(), 128);
    codes.resize(rows * order.size());
    for (auto& c : codes) c = static_cast<std::uint8_t>(random.below(256));
    row_sum.resize_zero(rows);
    col.resize_zero(n);
    y.resize_zero(rows * n);
    for (int n0 = 0; n0 < s.n; n0 += kBytePanel) {
      panels.emplace_back(kernels.panel_bytes(slots, g, {255, 128}));
      corrections.emplace_back(static_cast<std::size_t>(g) * kBytePanel);
      pack(kernels, n0, panels.back().data(), corrections.back().data());
    }
  }
  void pack(const igq::kernels::Kernels& kernels, int n0, void* panel, std::int32_t* correction) const {
    kernels.pack_bytes({weights.data() + n0, shape.n, kBytePanel, {255, 128}},
                       {order.data(), slots, zero.data(), group_end.data(), groups}, panel, correction);
  }
  void run(const igq::kernels::Kernels& kernels, bool gather) {
    igq::kernels::ByteGemm g{};
    g.a = codes.data();
    g.lda = slots;
    g.rows = shape.rows;
    g.groups = groups;
    g.group_end = group_end.data();
    g.group_scale = group_scale.data();
    g.row_sum = row_sum.data();
    g.ldy = shape.n;
    g.cols = kBytePanel;
    g.range = {255, 128};
    for (int n0 = 0; n0 < shape.n; n0 += kBytePanel) {
      const auto p = gather ? 0 : static_cast<std::size_t>(n0 / kBytePanel);
      if (gather) pack(kernels, n0, panels[0].data(), corrections[0].data());
      g.panel = panels[p].data();
      g.corrections = corrections[p].data();
      g.col_zero = g.col_scale = g.bias = col.data() + n0;
      g.y = y.data() + n0;
      kernels.byte_gemm(g);
    }
  }
};

void byte_gemm(benchmark::State& state, Shape s, int groups, bool gather, igq::Isa isa) {
  const auto& kernels = igq::kernels::kernels_for(isa);
  Layer layer(s, groups, kernels);
  const double products = static_cast<double>(s.rows) * s.k * s.n;
  const int repeats = std::max(1, static_cast<int>(1e9 / products / 4));
  double best = 1, best_peak = 1, total = 0, total_peak = 0;
  for (auto _ : state) {
    const double peak = igq::bench::byte_seconds_per_product(isa, 50'000'000);
    const double begin = igq::bench::thread_seconds();
    for (int i = 0; i < repeats; ++i) layer.run(kernels, gather);
    const double spent = igq::bench::thread_seconds() - begin;
    state.SetIterationTime(spent / repeats);
    best = std::min(best, spent / (repeats * products));
    best_peak = std::min(best_peak, peak);
    total += spent / (repeats * products);
    total_peak += peak;
  }
  const auto rounds = static_cast<double>(state.iterations());
  state.counters["Gprod"] = 1e-9 * rounds / total;
  state.counters["peak_Gprod"] = 1e-9 * rounds / total_peak;
  state.counters["of_peak"] = best_peak / best;
  state.counters["of_peak_mean"] = total_peak / total;
}

}  // namespace

int main(int argc, char** argv) {
  for (igq::Isa isa : igq::supported_isas()) {
    if (isa == igq::Isa::kReference) continue;
    for (const Shape& s : kShapes)
      for (const auto& [groups, gather] : {std::pair{1, false}, std::pair{8, false}, std::pair{8, true}}) {
        const std::string name = std::string(igq::isa_name(isa)) + "/" + std::to_string(s.rows) + "x" +
                                 std::to_string(s.k) + "x" + std::to_string(s.n) +
                                 (gather ? "/layer/groups:" : "/gemm/groups:") + std::to_string(groups);
        benchmark::RegisterBenchmark(name.c_str(), byte_gemm, s, groups, gather, isa)->UseManualTime()->Iterations(20);
      }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
