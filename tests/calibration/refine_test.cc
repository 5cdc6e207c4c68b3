// Calibration-driven weights on a small ViT: nearer to the float model than rounding to nearest, the same bytes for any
// number of threads, nothing touched that should stay.
#include "calibration/refine.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "base/fail.h"
#include "models/runner.h"
#include "tests/calibration/small_vit.h"
#include "tests/test_util.h"

namespace igq {
namespace {

struct Outcome {
  std::shared_ptr<QuantizationPlan> plan;
  BiasMap biases;
  std::vector<float> logits;  // of the simulated model on the calibration images
};

Outcome quantize_small(QuantizeOptions options, int threads, const RefineHooks& hooks = {}) {
  const std::unique_ptr<Model> model = test::small_vit();
  auto load = [&](std::int64_t i, float* image) { test::small_image(*model, i, image); };
  Outcome result;
  Statistics statistics = [&] {
    Runner runner(*model, Execution::kFloat, best_isa(), threads);
    return collect_statistics(runner, test::kSmallImages, options.seed, load);
  }();
  ThreadPool pool(threads);
  result.plan = std::make_shared<QuantizationPlan>(make_plan(*model, statistics, options, pool));
  result.biases = refine_weights(*model, result.plan, options, test::kSmallImages, load, best_isa(), pool, hooks);
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
  for (const auto& [name, bias] : a.biases)
    EXPECT_TRUE(std::equal(bias.begin(), bias.end(), b.biases.at(name).begin())) << name;
  EXPECT_EQ(a.logits, b.logits);
}

TEST(RefineWeights, DoesNotDependOnThreads) {
  for (const WeightMethod method : {WeightMethod::kGptq, WeightMethod::kErq}) {
    const QuantizeOptions options = options_for(method);
    expect_same(quantize_small(options, 1), quantize_small(options, 3));
  }
  QuantizeOptions grouped = options_for(WeightMethod::kGptq);
  grouped.weight_groups = 8;
  expect_same(quantize_small(grouped, 1), quantize_small(grouped, 3));
}

TEST(RefineWeights, NearerToFloatThanRoundingToNearest) {
  QuantizeOptions options;
  options.keep = ".";
  const std::vector<float> exact = quantize_small(options, 1).logits;
  // With bounds that hardly clip: those of means cut so much that what is left after either method is chance.
  const auto error_of = [&](WeightMethod method) {
    QuantizeOptions quantize = options_for(method);
    quantize.bounds = GroupBounds::kMse;
    return test::squared_distance(exact, quantize_small(quantize, 1).logits);
  };
  const double nearest = error_of(WeightMethod::kNearest);
  EXPECT_LT(error_of(WeightMethod::kGptq), 0.7 * nearest);
  EXPECT_LT(error_of(WeightMethod::kErq), 0.7 * nearest);
}

TEST(RefineWeights, WeightGroupsHelp) {
  QuantizeOptions options;
  options.keep = ".";
  const std::vector<float> exact = quantize_small(options, 1).logits;
  for (const WeightMethod method : {WeightMethod::kNearest, WeightMethod::kGptq, WeightMethod::kErq}) {
    options = options_for(method);
    options.weight_bits = 2;
    options.weight_quantile = 0.0;
    const double plain = test::squared_distance(exact, quantize_small(options, 1).logits);
    options.weight_groups = 4;
    const Outcome grouped = quantize_small(options, 1);
    EXPECT_LT(test::squared_distance(exact, grouped.logits), plain) << weight_method_name(method);
    EXPECT_EQ(grouped.plan->linears.at("blocks.0.mlp.fc1").weight.group_size, 4);
    EXPECT_EQ(grouped.plan->linears.at("head").weight.group_size, 0) << "8 bits have no room for multipliers";
  }
}

TEST(RefineWeights, LeavesFloatSitesAlone) {
  QuantizeOptions options = options_for(WeightMethod::kErq);
  options.keep = "fc1";
  const Outcome refined = quantize_small(options, 1);
  options.weights = WeightMethod::kNearest;
  const Outcome nearest = quantize_small(options, 1);
  EXPECT_FALSE(refined.plan->linears.contains("blocks.0.mlp.fc1"));
  EXPECT_TRUE(nearest.biases.empty());
  EXPECT_EQ(refined.biases.size(), 8u);  // patch embedding, head; qkv, proj, fc2 of two blocks
  EXPECT_TRUE(refined.biases.contains("blocks.1.attn.qkv.bias"));
}

/// A patch embedding whose input is made of pixels loses nothing to its quantization: the shift of the grid is in the
/// bias.
TEST(RefineWeights, PixelsAreHeldExactly) {
  const std::unique_ptr<Model> model = test::small_vit();
  const PreprocessConfig& preprocess = model->config().preprocess;
  auto load = [&](std::int64_t i, float* image) {
    Random random(static_cast<std::uint64_t>(i));
    const auto plane = static_cast<std::size_t>(model->image_floats() / 3);
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t p = 0; p < plane; ++p)
        image[c * plane + p] =
            (static_cast<float>(random.below(256)) / 255.0f - static_cast<float>(preprocess.mean[c])) /
            static_cast<float>(preprocess.std[c]);
  };
  QuantizeOptions options = options_for(WeightMethod::kGptq);
  const Linear exact = *model->sites()[0].linear;
  Runner runner(*model, Execution::kFloat, best_isa(), 1);
  auto plan = std::make_shared<QuantizationPlan>(
      make_plan(*model, collect_statistics(runner, 6, 0, load), options, runner.pool()));
  const ActivationPlan& input = plan->linears.at("patch_embed.proj").input;
  EXPECT_EQ(input.grouping, Grouping::kStaticGroup);
  ASSERT_EQ(input.groups.size(), 3u);
  refine_weights(*model, plan, options, 6, load, best_isa(), runner.pool());
  // With the weights of the codes in float, the layer on pixels and on codes differ by the shift alone, which the bias
  // holds.
  const AlignedBuffer<float> w = exact.weight(),
                             coded =
                                 Linear("coded", 48, 24,
                                        std::shared_ptr<const LinearPlan>(plan, &plan->linears.at("patch_embed.proj")),
                                        {})
                                     .weight();
  const std::span<const float> bias = model->sites()[0].linear->bias();
  double error = 0.0, square = 0.0;
  std::vector<float> image(static_cast<std::size_t>(model->image_floats()));
  load(99, image.data());
  for (std::size_t o = 0; o < 24; ++o) {
    double float_sum = exact.bias()[o], coded_sum = bias[o];
    for (std::size_t k = 0; k < 48; ++k) {  // the first 48 pixels stand for a patch of one colour each 16
      const std::size_t c = k / 16;
      const float x = image[c * image.size() / 3 + k % 16];
      const UniformQuantizer q = make_quantizer(input.groups[c], 8);
      float_sum += static_cast<double>(w[o * 48 + k]) * static_cast<double>(x);
      coded_sum += static_cast<double>(coded[o * 48 + k]) * static_cast<double>(dequantize(quantize(x, q), q));
    }
    error += std::pow(float_sum - coded_sum, 2);
    square += std::pow(float_sum, 2);
  }
  EXPECT_LT(error, 1e-4 * square);  // what is left is the rounding of 8-bit weights
  options.weights = WeightMethod::kNearest;
  EXPECT_EQ(make_plan(*model, collect_statistics(runner, 6, 0, load), options, runner.pool())
                .linears.at("patch_embed.proj")
                .input.grouping,
            Grouping::kLayer);
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
  refine_weights(*model, plan, options, test::kSmallImages, load, best_isa(), pool, {[&](const RefineProgress& p) {
    sites.push_back(p.site);
    EXPECT_EQ(p.done, static_cast<int>(sites.size()));
    EXPECT_EQ(p.total, 10);
    EXPECT_GT(p.bytes, 0u);
    EXPECT_GT(p.error, 0.0);
    EXPECT_LT(p.error, 1.0);
  }});
  ASSERT_EQ(sites.size(), 10u);
  EXPECT_EQ(sites.front(), "patch_embed.proj");
  EXPECT_EQ(sites.back(), "head");
}

/// Keeps layers in memory; more than `room` of them end the run, as a kill would.
class Memory final : public RefinedLayers {
 public:
  std::optional<RefinedLayer> find(const std::string& site) override {
    const auto it = layers.find(site);
    return it == layers.end() ? std::nullopt : std::optional<RefinedLayer>(it->second);
  }
  void keep(const std::string& site, const RefinedLayer& layer) override {
    if (layers.size() == room) fail("interrupted");
    layers[site] = layer;
  }
  std::map<std::string, RefinedLayer> layers;
  std::size_t room = 0;
};

TEST(RefineWeights, AnInterruptedRunGoesOnToTheSameResult) {
  for (const WeightMethod method : {WeightMethod::kGptq, WeightMethod::kErq}) {
    QuantizeOptions options = options_for(method);
    options.weight_groups = 8;
    const Outcome whole = quantize_small(options, 2);
    Memory memory;
    RefineHooks hooks;
    hooks.finished = &memory;
    for (const std::size_t room : {0, 1, 4, 7}) {
      memory.room = room;
      EXPECT_THROW(quantize_small(options, 2, hooks), Error);
      EXPECT_EQ(memory.layers.size(), room);
    }
    memory.room = 100;
    int found = 0;
    hooks.progress = [&](const RefineProgress& p) { found += p.found ? 1 : 0; };
    expect_same(whole, quantize_small(options, 2, hooks));
    EXPECT_EQ(found, 7);
  }
}

/// Images that do not tell inputs apart, of any kind, are calibrated with, to weights no worse than rounded to nearest
/// would have been on other images.
TEST(RefineWeights, ImagesThatTellNothingAreNoError) {
  const std::unique_ptr<Model> shape = test::small_vit();
  const auto floats = shape->image_floats();
  const auto constant = [&](float value) {
    return [=](std::int64_t, float* image) { std::fill_n(image, floats, value); };
  };
  const std::vector<std::pair<const char*, std::function<void(std::int64_t, float*)>>> kinds{
      {"white", constant(2.2f)},
      {"black", constant(-2.1f)},
      {"zero", constant(0.0f)},
      {"far from zero", constant(1e4f)},
      {"one image many times", [&](std::int64_t, float* image) { test::small_image(*shape, 0, image); }},
  };
  for (const auto& [name, load] : kinds)
    for (const WeightMethod method : {WeightMethod::kGptq, WeightMethod::kErq, WeightMethod::kAuto})
      for (const int views : {1, 4})
        for (const std::int64_t images : {1, 3}) {
          QuantizeOptions options = options_for(method);
          options.weight_bits = 8;
          options.views = views;
          // erq makes up for what activations lose, with bounds of means more than weights are large. Views of an image
          // do differ: it has something to fit.
          options.bounds = GroupBounds::kMse;
          const float most = method != WeightMethod::kErq ? 0.03f : views > 1 && *name == 'o' ? 1.0f : 0.5f;
          const std::unique_ptr<Model> model = test::small_vit();
          Runner runner(*model, Execution::kFloat, best_isa(), 2);
          auto plan = std::make_shared<QuantizationPlan>(
              make_plan(*model, collect_statistics(runner, images, 0, load), options, runner.pool()));
          std::vector<std::string> alike;
          RefineHooks hooks;
          hooks.progress = [&](const RefineProgress& p) {
            if (p.alike) alike.push_back(p.site);
          };
          refine_weights(*model, plan, options, images, load, best_isa(), runner.pool(), hooks);
          EXPECT_EQ(std::find(alike.begin(), alike.end(), "head") != alike.end(), views == 1 || *name != 'o')
              << name << " " << views << " " << images;
          const std::unique_ptr<Model> exact = test::small_vit();
          for (const auto& [site, linear] : plan->linears) {
            const AlignedBuffer<float> w =
                exact->sites()[static_cast<std::size_t>(exact->find_site(site))].linear->weight();
            const auto largest = static_cast<float>(test::largest_size(w));
            const std::size_t out = linear.weight.scale.size(), in = w.size() / out;
            for (std::size_t o = 0; o < out; ++o)
              for (std::size_t i = 0; i < in; ++i) {
                const float w_hat = linear.weight.scale[o] * static_cast<float>(linear.weight.codes[i * out + o] + 128 -
                                                                                linear.weight.zero_point[o]);
                ASSERT_LE(std::abs(w_hat - w[o * in + i]), most * largest) << name << " " << site;
              }
          }
        }
}

}  // namespace
}  // namespace igq
