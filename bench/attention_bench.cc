// One attention layer as the models call it, float and integer, one thread. Counter: microseconds of processor time per
// head (the least), on 197 tokens (DeiT) and on 64 windows of 49 (the first stage of Swin-T).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/aligned_buffer.h"
#include "base/random.h"
#include "bench/fma_peak.h"
#include "ops/attention.h"

namespace {

using namespace igq;

void attention(benchmark::State& state, int windows, int tokens, int heads, int dim, Execution execution) {
  const auto channels = static_cast<std::size_t>(heads * dim), rows = static_cast<std::size_t>(windows * tokens);
  AlignedBuffer<float> qkv(rows * 3 * channels), out(rows * channels);
  Random random(1);
  for (float& x : qkv) x = static_cast<float>(random.normal());

  auto plan = std::make_shared<AttentionPlan>();
  plan->qkv.grouping = QkvGrouping::kHead;
  plan->qkv.q = plan->qkv.k = plan->qkv.v = std::vector<Bounds>(static_cast<std::size_t>(heads), {-3.5F, 4.0F});
  plan->softmax.grouping = Grouping::kIgq;
  for (int g = 1; g <= 8; ++g) plan->softmax.groups.push_back({0.0F, 0.02F * static_cast<float>(g)});
  Attention layer("attention", heads, dim);
  layer.set_site(0);
  layer.set_plan(plan);

  ExecContext context;
  context.kernels = &kernels::kernels_for(best_isa());
  context.execution = execution;
  layer.forward(context, qkv.data(), windows, tokens, {}, out.data());
  context.arena.reset();
  double least = 1.0;
  for (auto _ : state) {
    const double begin = bench::thread_seconds();
    layer.forward(context, qkv.data(), windows, tokens, {}, out.data());
    const double spent = bench::thread_seconds() - begin;
    state.SetIterationTime(spent);
    least = std::min(least, spent);
  }
  state.counters["us_per_head"] = 1e6 * least / (windows * heads);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Execution e : {Execution::kFloat, Execution::kInteger}) {
    const std::string name(execution_name(e));
    benchmark::RegisterBenchmark((name + "/197").c_str(), attention, 1, 197, 6, 64, e)->UseManualTime()->Iterations(300);
    benchmark::RegisterBenchmark((name + "/49").c_str(), attention, 64, 49, 3, 32, e)->UseManualTime()->Iterations(100);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
