// Balanced queries and keys: the float model stays what it was, the quantized one comes nearer to it.
#include "calibration/balance.h"

#include <cmath>
#include <gtest/gtest.h>

#include "models/runner.h"
#include "tests/calibration/small_vit.h"

namespace igq {
namespace {

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  return std::sqrt(test::squared_distance(a, b));
}

/// Keys with a large mean and queries whose energy lies in one channel, as trained models have them.
void make_lopsided(Model& model) {
  for (const Site& site : model.sites()) {
    if (!site.name.ends_with("attn.qkv")) continue;
    Linear& linear = *site.linear;
    AlignedBuffer<float> weight = linear.weight();
    std::vector<float> bias(linear.bias().begin(), linear.bias().end());
    const auto in = static_cast<std::size_t>(linear.in_features());
    for (std::size_t head = 0; head < 3; ++head)
      for (std::size_t i = 0; i < in; ++i) {
        weight[head * 8 * in + i] *= 6.0f;
        weight[(24 + head * 8) * in + i] /= 6.0f;
      }
    for (std::size_t k = 24; k < 48; ++k) bias[k] += k % 2 == 0 ? 3.0f : -5.0f;
    const int id = linear.site();
    linear = Linear(linear.name(), linear.in_features(), linear.out_features(), {weight.data(), weight.size()}, bias);
    linear.set_site(id);
  }
}

BiasMap balance(Model& model, const QuantizeOptions& options, int threads) {
  ThreadPool pool(threads);
  model.prepare(Execution::kFloat, kernels::kernels_for(best_isa()));
  return balance_queries_and_keys(
      model, options, test::kSmallImages, [&](std::int64_t i, float* image) { test::small_image(model, i, image); },
      best_isa(), pool);
}

/// Only q, k, v and softmax.
void quantize_attention(Model& model, const QuantizeOptions& options) {
  Runner runner(model, Execution::kFloat, best_isa(), 1);
  const Statistics statistics = collect_statistics(
      runner, test::kSmallImages, 0, [&](std::int64_t i, float* image) { test::small_image(model, i, image); });
  auto plan = std::make_shared<QuantizationPlan>(make_plan(model, statistics, options, runner.pool()));
  for (auto& [name, linear] : plan->linears) linear.input = {};
  model.set_plan(plan);
}

TEST(BalanceQueriesAndKeys, KeepsTheFloatModel) {
  const std::unique_ptr<Model> model = test::small_vit();
  make_lopsided(*model);
  const std::vector<float> before = test::logits_of(*model, Execution::kFloat);
  const AlignedBuffer<float> old_weight = model->sites()[1].linear->weight();
  const BiasMap biases = balance(*model, {}, 1);
  EXPECT_EQ(biases.size(), 2u);
  const std::vector<float> after = test::logits_of(*model, Execution::kFloat);
  EXPECT_LT(distance(before, after), 1e-4 * distance(before, std::vector<float>(before.size(), 0.0f)));
  const AlignedBuffer<float> new_weight = model->sites()[1].linear->weight();
  const std::size_t value_rows = static_cast<std::size_t>(48) * 24;
  EXPECT_FALSE(std::equal(old_weight.begin(), old_weight.begin() + 24, new_weight.begin()));
  EXPECT_TRUE(std::equal(old_weight.begin() + value_rows, old_weight.end(), new_weight.begin() + value_rows))
      << "values are not touched";
}

TEST(BalanceQueriesAndKeys, TokensLoseLess) {
  auto error = [](bool balanced) {
    const std::unique_ptr<Model> model = test::small_vit();
    make_lopsided(*model);
    const std::vector<float> exact = test::logits_of(*model, Execution::kFloat);
    QuantizeOptions options;
    options.grouping = Grouping::kUpperBound;
    options.activation_bits = 4;
    options.weight_bits = 8;
    if (balanced) balance(*model, options, 1);
    quantize_attention(*model, options);
    return distance(exact, test::logits_of(*model, Execution::kSimulate));
  };
  EXPECT_LT(error(true), 0.6 * error(false));
}

/// small_vit() whose queries and keys turn.
std::unique_ptr<Model> small_rotary() {
  ModelConfig config = test::small_vit()->config();
  config.architecture = "small_rotary_vit";
  config.vit.positions = false;
  config.vit.rope = Rope::kDinov3;
  return test::small_model(config);
}

TEST(BalanceQueriesAndKeys, PairsThatTurnTogetherKeepTheFloatModelAndLoseLess) {
  const auto energies_in = [](Model& model) {  // pairs of channels of the first head of the first block: q, k
    std::vector<double> energies;
    const Linear& linear = *model.sites()[1].linear;
    const auto in = static_cast<std::size_t>(linear.in_features());
    for (std::size_t row = 0; row < 48; ++row) {
      double sum = 0.0;
      for (std::size_t i = 0; i < in; ++i) sum += std::pow(static_cast<double>(linear.weight()[row * in + i]), 2);
      energies.push_back(sum);
    }
    return energies;
  };
  auto error = [&](bool balanced) {
    const std::unique_ptr<Model> model = small_rotary();
    make_lopsided(*model);
    const std::vector<float> exact = test::logits_of(*model, Execution::kFloat);
    QuantizeOptions options;
    options.grouping = Grouping::kUpperBound;
    options.activation_bits = 4;
    options.weight_bits = 8;
    if (balanced) {
      const std::vector<double> before = energies_in(*model);
      EXPECT_EQ(balance(*model, options, 1).size(), 2u);
      const std::vector<float> after = test::logits_of(*model, Execution::kFloat);
      EXPECT_LT(distance(exact, after), 1e-4 * distance(exact, std::vector<float>(exact.size(), 0.0f)));
      const std::vector<double> now = energies_in(*model);
      for (std::size_t j = 0; j < 4; ++j) {  // both of a pair by one factor, q as much as k the other way
        const double factor = now[j] / before[j];
        EXPECT_NEAR(now[j + 4] / before[j + 4], factor, 1e-4 * factor);
        EXPECT_NEAR(before[24 + j] / now[24 + j], factor, 1e-4 * factor);
        EXPECT_NEAR(before[28 + j] / now[28 + j], factor, 1e-4 * factor);
      }
    }
    quantize_attention(*model, options);
    return distance(exact, test::logits_of(*model, Execution::kSimulate));
  };
  EXPECT_LT(error(true), 0.8 * error(false));
}

TEST(BalanceQueriesAndKeys, DoesNotDependOnThreadsAndSkipsFloatSites) {
  const std::unique_ptr<Model> one = test::small_vit(), many = test::small_vit(), kept = test::small_vit();
  QuantizeOptions options;
  balance(*one, options, 1);
  balance(*many, options, 3);
  options.keep = "blocks.0.attn";
  EXPECT_EQ(balance(*kept, options, 1).size(), 1u);
  const std::unique_ptr<Model> original = test::small_vit();
  const auto weight_of = [](const Model& model, const char* name) {
    return model.sites()[static_cast<std::size_t>(model.find_site(name))].linear->weight();
  };
  const auto a = weight_of(*one, "blocks.1.attn.qkv"), b = weight_of(*many, "blocks.1.attn.qkv");
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  const auto c = weight_of(*kept, "blocks.0.attn.qkv"), d = weight_of(*original, "blocks.0.attn.qkv");
  EXPECT_TRUE(std::equal(c.begin(), c.end(), d.begin()));
}

}  // namespace
}  // namespace igq
