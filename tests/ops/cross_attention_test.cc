// Attention of queries and keys of different tokens: integers have simulation's bits whatever the numbers of tokens, on
// every instruction set, and stay near float.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "ops/attention.h"

namespace igq {
namespace {

std::vector<float> random_rows(Random& random, int rows, int cols, double spread) {
  std::vector<float> values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  for (float& v : values) v = static_cast<float>(spread * random.normal() + 0.3);
  return values;
}

std::shared_ptr<const AttentionPlan> plan_of(Grouping softmax, int bits) {
  auto plan = std::make_shared<AttentionPlan>();
  plan->qkv.grouping = QkvGrouping::kRow;
  plan->qkv.bits = bits;
  plan->qkv.centred = plan->qkv.centred_k = true;
  plan->softmax.grouping = softmax;
  plan->softmax.bits = bits;
  if (softmax == Grouping::kIgq) plan->softmax.groups = {{0.0f, 0.1f}, {0.0f, 0.4f}, {0.0f, 1.0f}};
  return plan;
}

TEST(CrossAttention, IntegersHaveTheBitsOfSimulation) {
  Random random(5);
  for (const auto& [queries, keys, head_dim] : {std::array{1, 130, 32}, {100, 7, 24}, {65, 64, 64}, {3, 1, 8}})
    for (const Grouping softmax : {Grouping::kUpperBound, Grouping::kIgq})
      for (const int bits : {8, 4}) {
        SCOPED_TRACE(fmt::format("{} queries, {} keys, {} bits", queries, keys, bits));
        const int heads = 2, dim = heads * head_dim;
        Attention attention("a", heads, head_dim);
        attention.set_site(0);
        attention.set_plan(plan_of(softmax, bits));
        const auto q = random_rows(random, queries, dim, 0.7), k = random_rows(random, keys, dim, 0.7),
                   v = random_rows(random, keys, dim, 1.0);
        const auto run = [&](Execution execution, Isa isa, int threads) {
          ThreadPool pool(threads);
          ExecContext context;
          context.kernels = &kernels::kernels_for(isa);
          context.pool = &pool;
          context.execution = execution;
          std::vector<float> out(static_cast<std::size_t>(queries) * static_cast<std::size_t>(dim), NAN);
          attention.forward(context, q.data(), queries, {k.data(), v.data(), dim, keys}, out.data());
          return out;
        };
        const std::vector<float> simulated = run(Execution::kSimulate, best_isa(), 1);
        for (const Isa isa : {Isa::kReference, best_isa()})
          for (const int threads : {1, 3}) EXPECT_EQ(run(Execution::kInteger, isa, threads), simulated);
        if (softmax != Grouping::kUpperBound) continue;  // made-up bounds clip as they like
        const std::vector<float> exact = run(Execution::kFloat, best_isa(), 1);
        double error = 0.0, size = 0.0;
        for (std::size_t i = 0; i < exact.size(); ++i) {
          error += std::pow(static_cast<double>(exact[i]) - static_cast<double>(simulated[i]), 2);
          size += std::pow(static_cast<double>(exact[i]), 2);
        }
        EXPECT_LT(error / size, bits == 8 ? 1e-3 : 0.1);
      }
}

TEST(CrossAttention, EqualsSelfAttentionOfTheSameTokens) {
  Random random(6);
  const int n = 33, heads = 3, head_dim = 16, dim = heads * head_dim;
  const auto qkv = random_rows(random, n, 3 * dim, 0.5);
  std::vector<float> q, k, v;
  for (int t = 0; t < n; ++t)
    for (int part = 0; part < 3; ++part) {
      const auto row = qkv.begin() + (t * 3 + part) * dim;
      (part == 0 ? q : part == 1 ? k : v).insert((part == 0 ? q : part == 1 ? k : v).end(), row, row + dim);
    }
  Attention attention("a", heads, head_dim);
  attention.set_site(0);
  attention.set_plan(plan_of(Grouping::kUpperBound, 6));
  for (const Execution execution : {Execution::kFloat, Execution::kSimulate, Execution::kInteger}) {
    ExecContext context;
    context.kernels = &kernels::kernels_for(best_isa());
    context.execution = execution;
    std::vector<float> a(static_cast<std::size_t>(n * dim)), b(a.size()), apart(a.size());
    attention.forward(context, qkv.data(), 1, n, {}, a.data());
    attention.forward(context, q.data(), n, {k.data(), v.data(), dim, n}, b.data());
    EXPECT_EQ(a, b);
    attention.forward(context, q.data(), n, {qkv.data() + dim, qkv.data() + 2 * dim, 3 * dim, n}, apart.data());
    EXPECT_EQ(a, apart);
  }
}

}  // namespace
}  // namespace igq
