// Calibration-driven weights on a small ViT: nearer to the float model than rounding to nearest, the same bytes for any number
// of threads, nothing touched that should stay.
#include "calibration/refine.h"

#include <cmath>
#include <gtest/gtest.h>

#include "models/runner.h"
#include "tests/calibration/small_vit.h"

namespace igq {
namespace {

struct Outcome {
  std::shared_ptr<QuantizationPlan> plan;
  BiasMap biases;
  std::vector<float> logits;  // of the simulated model on the calibration images
};

Outcome quantize_small(QuantizeOptions options, int threads) {
  const std::unique_ptr<Model> model = test::small_vit();
  auto load = [&](std::int64_t i, float* image) { test::small_image(*model, i, image); };
  Outcome result;
  Statistics statistics = [&] {
    Runner runner(*model, Execution::kFloat, best_isa(), threads);
    return collect_statistics(runner, test::kSmallImages, options.seed, load);
  }();
  ThreadPool pool(threads);
  result.plan = std::make_shared<QuantizationPlan>(make_plan(*model, statistics, options, pool));
  result.biases = refine_weights(*model, result.plan, options, test::kSmallImages, load, best_isa(), pool);
  model->set_plan(result.plan);
  Runner runner(*model, Execution::kSimulate, best_isa(), threads);
  std::vector<float> image(static_cast<std::size_t>(model->image_floats()));
  for (int i = 0; i < test::kSmallImages; ++i) {
    load(i, image.data());
    const auto logits = runner.run(image.data());
    result.logits.insert(result.logits.end(), logits.begin(), logits.end());
  }
  return result;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return sum;
}

QuantizeOptions options_for(WeightMethod method) {
  QuantizeOptions options;
  options.weights = method;
  options.weight_bits = 3;
  options.activation_bits = 8;
  options.groups = 4;
  options.clipping = {1.0f, 0.9f, 0.8f};
  return options;
}

void expect_same(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.plan->linears.size(), b.plan->linears.size());
  for (const auto& [name, linear] : a.plan->linears) {
    const LinearPlan& other = b.plan->linears.at(name);
    EXPECT_EQ(linear.input.groups, other.input.groups) << name;
    EXPECT_EQ(linear.weight.scale, other.weight.scale) << name;
    EXPECT_EQ(linear.weight.zero_point, other.weight.zero_point) << name;
    EXPECT_TRUE(std::equal(linear.weight.codes.begin(), linear.weight.codes.end(), other.weight.codes.begin())) << name;
  }
  ASSERT_EQ(a.biases.size(), b.biases.size());
  for (const auto& [name, bias] : a.biases) EXPECT_TRUE(std::equal(bias.begin(), bias.end(), b.biases.at(name).begin())) << name;
  EXPECT_EQ(a.logits, b.logits);
}

TEST(RefineWeights, DoesNotDependOnThreads) {
  for (const WeightMethod method : {WeightMethod::kGptq, WeightMethod::kErq}) {
    const QuantizeOptions options = options_for(method);
    expect_same(quantize_small(options, 1), quantize_small(options, 3));
  }
}

TEST(RefineWeights, NearerToFloatThanRoundingToNearest) {
  QuantizeOptions options;
  options.keep = ".";
  const std::vector<float> exact = quantize_small(options, 1).logits;
  const double nearest = distance(exact, quantize_small(options_for(WeightMethod::kNearest), 1).logits);
  const double gptq = distance(exact, quantize_small(options_for(WeightMethod::kGptq), 1).logits);
  const double erq = distance(exact, quantize_small(options_for(WeightMethod::kErq), 1).logits);
  EXPECT_LT(gptq, 0.7 * nearest);
  EXPECT_LT(erq, 0.7 * nearest);
}

TEST(RefineWeights, LeavesFirstLastAndFloatSitesAlone) {
  QuantizeOptions options = options_for(WeightMethod::kErq);
  options.keep = "fc1";
  const Outcome refined = quantize_small(options, 1);
  options.weights = WeightMethod::kNearest;
  const Outcome nearest = quantize_small(options, 1);
  for (const char* site : {"patch_embed.proj", "head"}) {
    const WeightPlan &a = refined.plan->linears.at(site).weight, &b = nearest.plan->linears.at(site).weight;
    EXPECT_EQ(a.scale, b.scale);
    EXPECT_TRUE(std::equal(a.codes.begin(), a.codes.end(), b.codes.begin()));
  }
  EXPECT_FALSE(refined.plan->linears.contains("blocks.0.mlp.fc1"));
  EXPECT_TRUE(nearest.biases.empty());
  EXPECT_EQ(refined.biases.size(), 6u);  // qkv, proj, fc2 of two blocks
  EXPECT_TRUE(refined.biases.contains("blocks.1.attn.qkv.bias"));
}

TEST(RefineWeights, ReportsEverySiteOnce) {
  const std::unique_ptr<Model> model = test::small_vit();
  auto load = [&](std::int64_t i, float* image) { test::small_image(*model, i, image); };
  const QuantizeOptions options = options_for(WeightMethod::kGptq);
  Statistics statistics = [&] {
    Runner runner(*model, Execution::kFloat, best_isa(), 1);
    return collect_statistics(runner, test::kSmallImages, 0, load);
  }();
  ThreadPool pool(1);
  auto plan = std::make_shared<QuantizationPlan>(make_plan(*model, statistics, options, pool));
  std::vector<std::string> sites;
  refine_weights(*model, plan, options, test::kSmallImages, load, best_isa(), pool, [&](const RefineProgress& p) {
    sites.push_back(p.site);
    EXPECT_EQ(p.done, static_cast<int>(sites.size()));
    EXPECT_EQ(p.total, 8);
    EXPECT_GT(p.bytes, 0u);
    EXPECT_GT(p.error, 0.0);
    EXPECT_LT(p.error, 1.0);
  });
  ASSERT_EQ(sites.size(), 8u);
  EXPECT_EQ(sites.front(), "blocks.0.attn.qkv");
  EXPECT_EQ(sites.back(), "blocks.1.mlp.fc2");
}

}  // namespace
}  // namespace igq
