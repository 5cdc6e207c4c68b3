// Convolutions, fp32 and integer, on the shapes of a detector's pyramid, region proposals and heads (Mask R-CNN, 256
// channels), one thread, as a fraction of the FMA rate (or that of byte products) measured in the same moment. Columns
// as in gemm_f32_bench.cc.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

#include "base/aligned_buffer.h"
#include "base/random.h"
#include "bench/byte_peak.h"
#include "bench/fma_peak.h"
#include "ops/conv2d.h"
#include "quant/weights.h"

namespace {

struct Case {
  const char* name;
  igq::ConvShape shape;
  igq::MapGrid grid;
};
constexpr Case kCases[] = {{"fpn or rpn 3x3, P3", {256, 256, 3, 1, 1}, {1, 100, 168}},
                           {"fpn or rpn 3x3, P5", {256, 256, 3, 1, 1}, {1, 25, 42}},
                           {"lateral 1x1, C4", {384, 256, 1, 1, 0}, {1, 50, 84}},
                           {"rpn_reg 1x1, P3", {256, 12, 1, 1, 0}, {1, 100, 168}},
                           {"box head 3x3, 64 RoIs", {256, 256, 3, 1, 1}, {64, 7, 7}},
                           {"mask head 3x3, 16 RoIs", {256, 256, 3, 1, 1}, {16, 14, 14}},
                           {"ResNet stem 7x7/2", {3, 64, 7, 2, 3}, {1, 400, 532}},
                           {"ResNet 3x3/2", {128, 128, 3, 2, 1}, {1, 100, 134}}};

igq::AlignedBuffer<float> random_values(std::int64_t count) {
  igq::Random random(static_cast<std::uint64_t>(count));
  igq::AlignedBuffer<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(random.uniform() - 0.5);
  return values;
}

void convolve(benchmark::State& state, const Case& c, igq::Isa isa) {
  const auto weight = random_values(c.shape.weights()), bias = random_values(c.shape.out);
  const igq::Conv2d conv("conv", c.shape, {weight.data(), weight.size()}, {bias.data(), bias.size()});
  const auto x = random_values(c.grid.pixels() * c.shape.in);
  const std::int64_t pixels = conv.output(c.grid).pixels();
  auto y = random_values(pixels * c.shape.out);
  igq::ExecContext context;
  context.kernels = &igq::kernels::kernels_for(isa);
  const double flops =
      2.0 * static_cast<double>(pixels) / c.shape.out * static_cast<double>(c.shape.weights()) * c.shape.out;
  double best = 1, best_peak = 1, total = 0, total_peak = 0;
  for (auto _ : state) {
    const double peak = igq::bench::fma_seconds_per_flop(isa, 10'000'000);
    const double begin = igq::bench::thread_seconds();
    conv.forward(context, x.data(), c.grid, y.data(), igq::kernels::Activation::kRelu);
    const double spent = igq::bench::thread_seconds() - begin;
    state.SetIterationTime(spent);
    best = std::min(best, spent / flops);
    best_peak = std::min(best_peak, peak);
    total += spent / flops;
    total_peak += peak;
  }
  state.counters["GFLOPS"] = 1e-9 * static_cast<double>(state.iterations()) / total;
  state.counters["of_peak"] = best_peak / best;
  state.counters["of_peak_mean"] = total_peak / total;
}

/// A plan whose scales are multiples of one unit, as `best` makes them: at 8 bits few channels take more than one slot.
std::shared_ptr<const igq::LinearPlan> plan_of(const igq::AlignedBuffer<float>& weight, const igq::ConvShape& shape,
                                               int bits) {
  auto plan = std::make_shared<igq::LinearPlan>();
  plan->weight = igq::quantize_weights(weight, static_cast<int>(shape.weights() / shape.out), shape.out, bits, 0.0);
  igq::ActivationPlan& input = plan->input;
  input.grouping = igq::Grouping::kScale;
  input.bits = bits;
  input.unclipped = true;
  input.multiples = bits == 8 ? std::vector<std::int32_t>{1, 2, 3} : std::vector<std::int32_t>{8, 11, 17};
  const auto steps = static_cast<float>(igq::code_max(bits));
  input.unit = (bits == 8 ? 1.0f : 2.0f / 17.0f) / steps;
  for (const std::int32_t m : input.multiples)
    input.groups.push_back({0.0f, static_cast<float>(m) * input.unit * steps});
  return plan;
}

/// The whole integer convolution, quantizing included, as a fraction of the rate of byte products.
void convolve_bytes(benchmark::State& state, const Case& c, int bits, igq::Isa isa) {
  const auto weight = random_values(c.shape.weights()), bias = random_values(c.shape.out);
  igq::Conv2d conv("conv", c.shape, {weight.data(), weight.size()}, {bias.data(), bias.size()});
  conv.set_site(0);
  conv.set_plan(plan_of(weight, c.shape, bits));
  auto x = random_values(c.grid.pixels() * c.shape.in);
  for (std::size_t i = 0; i < x.size(); ++i)  // channels of widths 0.9, and one of twenty of twice that
    x[i] *= i % static_cast<std::size_t>(c.shape.in) % 20 == 0 ? 1.8f : 0.9f;
  const std::int64_t pixels = conv.output(c.grid).pixels();
  auto y = random_values(pixels * c.shape.out);
  igq::ExecContext context;
  context.kernels = &igq::kernels::kernels_for(isa);
  context.execution = igq::Execution::kInteger;
  conv.prepare(igq::Execution::kInteger, *context.kernels);
  const double products = static_cast<double>(pixels) * static_cast<double>(c.shape.weights());
  double best = 1, best_peak = 1, total = 0, total_peak = 0;
  for (auto _ : state) {
    const double peak = igq::bench::byte_seconds_per_product(isa, 40'000'000);
    const double begin = igq::bench::thread_seconds();
    conv.forward(context, x.data(), c.grid, y.data(), igq::kernels::Activation::kRelu);
    const double spent = igq::bench::thread_seconds() - begin;
    state.SetIterationTime(spent);
    best = std::min(best, spent / products);
    best_peak = std::min(best_peak, peak);
    total += spent / products;
    total_peak += peak;
  }
  state.counters["GMACS"] = 1e-9 * static_cast<double>(state.iterations()) / total;
  state.counters["of_peak"] = best_peak / best;
  state.counters["of_peak_mean"] = total_peak / total;
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : kCases)
    benchmark::RegisterBenchmark(c.name, [&c](benchmark::State& state) { convolve(state, c, igq::best_isa()); })
        ->UseManualTime()
        ->Iterations(8);
  for (const int bits : {8, 4})
    for (const Case& c : kCases)
      benchmark::RegisterBenchmark(
          (std::string(c.name) + (bits == 8 ? ", w8a8" : ", w4a4")).c_str(),
          [&c, bits](benchmark::State& state) { convolve_bytes(state, c, bits, igq::best_isa()); })
          ->UseManualTime()
          ->Iterations(8);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
