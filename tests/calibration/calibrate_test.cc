// Statistics and plans: what is remembered of activations, and the quantizers that follow from it.
#include "calibration/calibrate.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>

#include "base/fail.h"
#include "calibration/error_bounds.h"
#include "models/runner.h"
#include "tests/calibration/small_vit.h"

namespace igq {
namespace {

Statistics small_statistics(Model& model, int threads = 1) {
  Runner runner(model, Execution::kFloat, best_isa(), threads);
  return collect_statistics(runner, test::kSmallImages, 3,
                            [&](std::int64_t i, float* image) { test::small_image(model, i, image); });
}

TEST(Reservoir, KeepsEverythingWhileShortAndAFairSampleAfterwards) {
  Reservoir reservoir(1, 100);
  for (int i = 0; i < 100; ++i) reservoir.add({0.0f, static_cast<float>(i)});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(reservoir.points()[static_cast<std::size_t>(i)].upper, static_cast<float>(i));
  for (int i = 100; i < 10000; ++i) reservoir.add({0.0f, static_cast<float>(i)});
  EXPECT_EQ(reservoir.points().size(), 100u);
  EXPECT_EQ(reservoir.seen(), 10000u);
  double mean = 0.0;
  for (const Bounds& b : reservoir.points()) mean += static_cast<double>(b.upper) / 100.0;
  EXPECT_NEAR(mean, 5000.0, 4.0 * 10000.0 / std::sqrt(12.0 * 100.0));
}

TEST(Statistics, RefusesNanNamingTheSite) {
  const std::unique_ptr<Model> model = test::small_vit();
  Runner runner(*model, Execution::kFloat, best_isa(), 1);
  try {
    collect_statistics(runner, 1, 0, [&](std::int64_t i, float* image) {
      test::small_image(*model, i, image);
      image[5] = std::numeric_limits<float>::quiet_NaN();
    });
    FAIL() << "NaN was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("patch_embed.proj:input"), std::string::npos) << e.what();
  }
}

TEST(Statistics, ChannelRangesHoldEveryPoint) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  EXPECT_EQ(statistics.images(), test::kSmallImages);
  const int id = model->find_site("blocks.1.mlp.fc1");
  const LinearStatistics& s = statistics.linear(id);
  ASSERT_EQ(s.channels.size(), 24u);
  ASSERT_EQ(s.points.points().size(), 24u * test::kSmallImages);
  for (std::size_t i = 0; i < s.points.points().size(); ++i) {
    EXPECT_LE(s.channels[i % 24].lower, s.points.points()[i].lower);
    EXPECT_GE(s.channels[i % 24].upper, s.points.points()[i].upper);
  }
}

TEST(MakePlan, EveryGroupingHasItsGroups) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(2);
  for (const auto& [grouping, expected] : {std::pair{Grouping::kLayer, 1},
                                           {Grouping::kStaticGroup, 5},
                                           {Grouping::kIgq, 5},
                                           {Grouping::kScale, 5},
                                           {Grouping::kUpperBound, 0}}) {
    QuantizeOptions options;
    options.grouping = grouping;
    options.groups = 5;
    options.site_groups["blocks.0.mlp.fc2"] = 3;
    const QuantizationPlan plan = make_plan(*model, statistics, options, pool);
    EXPECT_EQ(plan.linears.size(), 10u);
    EXPECT_EQ(plan.attentions.size(), 2u);
    EXPECT_EQ(plan.linears.at("blocks.1.attn.qkv").input.groups.size(), static_cast<std::size_t>(expected))
        << grouping_name(grouping);
    EXPECT_EQ(plan.linears.at("blocks.0.mlp.fc2").input.groups.size(), static_cast<std::size_t>(std::min(expected, 3)));
    EXPECT_EQ(plan.attentions.at("blocks.1.attn").softmax.groups.size(), static_cast<std::size_t>(expected));
    EXPECT_EQ(plan.linears.at("head").input.grouping, Grouping::kLayer);
    EXPECT_EQ(plan.linears.at("head").weight.bits, 8);
    EXPECT_EQ(plan.linears.at("blocks.1.attn.qkv").weight.bits, 4);
  }
}

TEST(MakePlan, StaticGroupsHoldTheirChannels) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.grouping = Grouping::kStaticGroup;
  options.groups = 7;  // does not divide 24
  const auto plan = make_plan(*model, statistics, options, pool).linears.at("blocks.0.attn.qkv").input;
  const auto& channels = statistics.linear(model->find_site("blocks.0.attn.qkv")).channels;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const Bounds& group = plan.groups[c * 7 / channels.size()];
    EXPECT_LE(group.lower, channels[c].lower);
    EXPECT_GE(group.upper, channels[c].upper);
  }
}

TEST(MakePlan, ScaleGroupsAscendAndHoldTheWidestChannel) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.grouping = Grouping::kScale;
  const auto plan = make_plan(*model, statistics, options, pool).linears.at("blocks.0.attn.qkv").input;
  float widest = 0.0f;
  for (const Bounds& b : statistics.linear(model->find_site("blocks.0.attn.qkv")).points.points())
    widest = std::max(widest, b.upper - b.lower);
  EXPECT_EQ(plan.groups.back().upper, widest);
  for (std::size_t g = 1; g < plan.groups.size(); ++g) EXPECT_GE(plan.groups[g].upper, plan.groups[g - 1].upper);
}

TEST(MakePlan, DoesNotDependOnThreads) {
  const std::unique_ptr<Model> a = test::small_vit(), b = test::small_vit();
  const Statistics one = small_statistics(*a, 1), many = small_statistics(*b, 3);
  ThreadPool single(1), three(3);
  QuantizeOptions options;
  const QuantizationPlan x = make_plan(*a, one, options, single), y = make_plan(*b, many, options, three);
  for (const auto& [name, linear] : x.linears) {
    EXPECT_EQ(linear.input.groups, y.linears.at(name).input.groups) << name;
    EXPECT_EQ(linear.weight.scale, y.linears.at(name).weight.scale) << name;
  }
  for (const auto& [name, attention] : x.attentions) {
    EXPECT_EQ(attention.softmax.groups, y.attentions.at(name).softmax.groups) << name;
    EXPECT_EQ(attention.qkv.k, y.attentions.at(name).qkv.k) << name;
  }
}

TEST(SiteBits, KeepFirstLastAndTheLastMatchWins) {
  Site inner, last;
  inner.name = "blocks.3.mlp.fc2";
  last.name = "head";
  last.first_or_last = true;
  QuantizeOptions options;
  EXPECT_EQ(bits_of(inner, options).weight, 4);
  EXPECT_EQ(bits_of(last, options).weight, 8);
  options.site_bits = {{"fc2", {8, 8}}, {"blocks.3", {6, 5}}};
  EXPECT_EQ(bits_of(inner, options).weight, 6);
  EXPECT_EQ(bits_of(inner, options).activation, 5);
  options.keep = "mlp";
  EXPECT_TRUE(bits_of(inner, options).is_float());
  options.first_last_bits = 32;
  EXPECT_TRUE(bits_of(last, options).is_float());
  options.keep = "(";
  EXPECT_THROW(bits_of(inner, options), Error);
}

TEST(WeightMethod, NamesReadBack) {
  for (const char* name : {"rtn", "gptq", "erq", "auto"})
    EXPECT_EQ(weight_method_name(parse_weight_method(name)), name);
  EXPECT_THROW(parse_weight_method("best"), Error);
}

TEST(Presets, NamesReadBackAndThePaperIsThePaper) {
  for (const char* name : {"best", "paper"}) EXPECT_EQ(preset_name(parse_preset(name)), name);
  EXPECT_THROW(parse_preset("fast"), Error);
  const QuantizeOptions paper = preset_options(Preset::kPaper);
  EXPECT_EQ(paper.grouping, Grouping::kIgq);
  EXPECT_EQ(paper.bounds, GroupBounds::kMse);
  EXPECT_EQ(paper.weights, WeightMethod::kNearest);
  EXPECT_FALSE(paper.balance);
  EXPECT_EQ(preset_options(Preset::kBest).softmax_grouping, Grouping::kUpperBound);
}

TEST(MakePlan, BoundsOfIgqGroups) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(1);
  const int id = model->find_site("blocks.0.mlp.fc1");
  const auto& points = statistics.linear(id).points.points();
  QuantizeOptions options;
  options.groups = 1;  // every point in one group: its bounds by definition
  const auto bounds = [&](GroupBounds kind) {
    options.bounds = kind;
    return make_plan(*model, statistics, options, pool).linears.at("blocks.0.mlp.fc1").input.groups.at(0);
  };
  double lower = 0.0, upper = 0.0;
  for (const Bounds& p : points) lower += static_cast<double>(p.lower), upper += static_cast<double>(p.upper);
  const auto n = static_cast<double>(points.size());
  EXPECT_NEAR(bounds(GroupBounds::kMean).lower, lower / n, 1e-5);
  EXPECT_NEAR(bounds(GroupBounds::kMean).upper, upper / n, 1e-5);
  const Bounds envelope = bounds(GroupBounds::kEnvelope);
  double below = 0.0, above = 0.0;
  for (const Bounds& p : points) below += p.lower<envelope.lower, above += p.upper> envelope.upper;
  EXPECT_NEAR(below / n, 0.1, 0.02);
  EXPECT_NEAR(above / n, 0.1, 0.02);
  const Bounds mse = bounds(GroupBounds::kMse);
  double error = 0.0, of_mean = 0.0;
  for (const Bounds& p : points) {
    error += expected_error(p, mse, 4);
    of_mean += expected_error(p, bounds(GroupBounds::kMean), 4);
  }
  EXPECT_LT(error, of_mean);
}

TEST(MakePlan, WeightGroupsOfLowBits) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.weight_groups = 8;
  options.site_bits = {{"fc2", {5, 4}}};
  const QuantizationPlan plan = make_plan(*model, statistics, options, pool);
  EXPECT_EQ(plan.linears.at("blocks.0.mlp.fc1").weight.group_size, 8);
  EXPECT_EQ(plan.linears.at("blocks.0.mlp.fc1").weight.multiplier.size(), 3u * 37u);
  EXPECT_EQ(plan.linears.at("blocks.0.mlp.fc2").weight.group_size, 0);
  EXPECT_EQ(plan.linears.at("patch_embed.proj").weight.group_size, 0);
  EXPECT_TRUE(plan.linears.at("patch_embed.proj").weight.multiplier.empty());
}

TEST(MakePlan, IntegerRatiosAtFourBits) {
  const std::unique_ptr<Model> model = test::small_vit();
  const Statistics statistics = small_statistics(*model);
  ThreadPool pool(1);
  QuantizeOptions options = preset_options(Preset::kBest);
  options.integer_ratios = true;
  const auto input = make_plan(*model, statistics, options, pool).linears.at("blocks.0.mlp.fc1").input;
  EXPECT_EQ(input.grouping, Grouping::kScale);
  ASSERT_GE(input.groups.size(), 17u);
  EXPECT_FLOAT_EQ(input.groups[16].upper, 17.0f * input.groups[0].upper);
}

}  // namespace
}  // namespace igq
