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

void attention(benchmark::State& state, int windows, int tokens, int heads, int dim, Execution execution, bool by_row) {
  const auto channels = static_cast<std::size_t>(heads * dim), rows = static_cast<std::size_t>(windows * tokens);
  AlignedBuffer<float> qkv(rows * 3 * channels), out(rows * channels);
  Random random(1);
  for (float& x : qkv) x = static_cast<float>(random.normal());

  auto plan = std::make_shared<AttentionPlan>();
  plan->qkv.grouping = QkvGrouping::kHead;
  plan->qkv.q = plan->qkv.k = plan->qkv.v = std::vector<Bounds>(static_cast<std::size_t>(heads), {-3.5F, 4.0F});
  plan->softmax.grouping = Grouping::kIgq;
  for (int g = 1; g <= 8; ++g) plan->softmax.groups.push_back({0.0F, 0.02F * static_cast<float>(g)});
  if (by_row) {
    plan->qkv = {QkvGrouping::kRow, 8, {}, {}, {}};
    plan->softmax = {Grouping::kUpperBound, 8, {}, {}, 0.0F};
  }
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
  struct Variant {
    const char* name;
    Execution execution;
    bool by_row;  // q, k, v and softmax, as `best` has them
  };
  for (const auto& [name, execution, by_row] :
       {Variant{"float", Execution::kFloat, false}, Variant{"integer", Execution::kInteger, false},
        Variant{"integer-row", Execution::kInteger, true}}) {
    const std::string prefix(name);
    benchmark::RegisterBenchmark((prefix + "/197").c_str(), attention, 1, 197, 6, 64, execution, by_row)
        ->UseManualTime()
        ->Iterations(300);
    benchmark::RegisterBenchmark((prefix + "/49").c_str(), attention, 64, 49, 3, 32, execution, by_row)
        ->UseManualTime()
        ->Iterations(100);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
