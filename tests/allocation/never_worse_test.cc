// Never worse than one quantizer per layer: inputs with hostile channels, attention with flat and peaked rows, and
// whole models, whose sites take the single quantizer where groups lose more.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "allocation/better_plans.h"
#include "allocation/site_error.h"
#include "base/random.h"
#include "tests/calibration/small_vit.h"

namespace igq {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kChannels = 96;

/// [tokens][kChannels]: by channel normal, narrow and far from zero, very narrow and very far, constant, zero, heavy
/// tails, one token a thousand times the others, one-sided.
std::vector<float> hostile_input(int tokens, std::uint64_t seed, float factor) {
  Random random(seed);
  std::vector<float> x(static_cast<std::size_t>(tokens) * kChannels);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto z = static_cast<float>(random.normal());
    switch (i % kChannels % 8) {
      case 1:
        x[i] = 4.0f + 0.02f * z;
        break;
      case 2:
        x[i] = -9.0f + 0.0005f * z;
        break;
      case 3:
        x[i] = 1.5f;
        break;
      case 4:
        x[i] = 0.0f;
        break;
      case 5:
        x[i] = 0.05f * z * std::exp(1.5f * std::abs(z));
        break;
      case 6:
        x[i] = (i / kChannels == 7 ? 1000.0f : 1.0f) * 0.01f * z;
        break;
      case 7:
        x[i] = std::abs(z);
        break;
      default:
        x[i] = 0.3f * z;
    }
    x[i] *= factor;
  }
  return x;
}

struct Ranges {
  std::vector<float> low, high;
  explicit Ranges(const std::vector<float>& x) : low(kChannels, kInfinity), high(kChannels, -kInfinity) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      low[i % kChannels] = std::min(low[i % kChannels], x[i]);
      high[i % kChannels] = std::max(high[i % kChannels], x[i]);
    }
  }
};

/// Squared error of what the plan's quantizers make of x.
double error_of(const ActivationPlan& plan, const std::vector<float>& x) {
  const kernels::Kernels& kernels = kernels::kernels_for(best_isa());
  const Ranges ranges(x);
  Arena arena;
  const ChannelQuantizers q = assign_channels(plan, kernels, kChannels, ranges.low.data(), ranges.high.data(), arena);
  std::vector<float> coded = x;
  kernels.fake_quantize_channels({coded.data(), kChannels, static_cast<int>(x.size()) / kChannels, kChannels}, q.scale,
                                 {q.inv_scale, q.zero, q.q_max});
  double error = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i)
    error += std::pow(static_cast<double>(coded[i]) - static_cast<double>(x[i]), 2);
  return error;
}

TEST(NeverWorse, InputsWithHostileChannels) {
  for (const int tokens : {50, 257, 1500})
    for (int bits = 2; bits <= 8; ++bits) {
      LinearStatistics statistics(1);
      statistics.channels.assign(kChannels, {kInfinity, -kInfinity});
      for (std::uint64_t image = 0; image < 4; ++image) {
        const Ranges ranges(hostile_input(tokens, image, 1.0f));
        for (std::size_t c = 0; c < kChannels; ++c) {
          statistics.points.add({ranges.low[c], ranges.high[c]});
          statistics.channels[c].lower = std::min(statistics.channels[c].lower, ranges.low[c]);
          statistics.channels[c].upper = std::max(statistics.channels[c].upper, ranges.high[c]);
        }
      }
      Site site;
      site.name = "site";
      site.max_rows = tokens;
      QuantizeOptions options;
      options.activation_bits = bits;
      options.grouping = Grouping::kLayer;
      const ActivationPlan layer = plan_input(site, statistics, options, 1);
      for (const Grouping grouping : {Grouping::kScale, Grouping::kUpperBound})
        for (const bool integer : {false, true})
          for (const int groups : {2, 8}) {
            options.grouping = grouping;
            options.integer_ratios = integer;
            const ActivationPlan plan = plan_input(site, statistics, options, groups);
            for (const std::uint64_t image : {0, 3, 17}) {  // the last is not of calibration
              const std::vector<float> x = hostile_input(tokens, image, 1.0f);
              const double error = error_of(plan, x);
              EXPECT_LE(error, error_of(layer, x))
                  << grouping_name(grouping) << (integer ? ", integer, " : ", ") << groups << " groups, " << bits
                  << " bits, " << tokens << " tokens, image " << image;
              // Ranges ten times those of calibration lose at most 3 dB, relative to the image.
              EXPECT_LE(error_of(plan, hostile_input(tokens, image, 10.0f)), 2.0 * 100.0 * error)
                  << grouping_name(grouping) << (integer ? ", integer, " : ", ") << groups << " groups, " << bits
                  << " bits, " << tokens << " tokens, image " << image;
            }
          }
    }
}

/// A narrow channel far from zero must not lose with finer steps.
TEST(NeverWorse, MoreBitsOfHostileChannelsLoseLess) {
  LinearStatistics statistics(1);
  statistics.channels.assign(kChannels, {kInfinity, -kInfinity});
  const std::vector<float> x = hostile_input(257, 0, 1.0f);
  const Ranges ranges(x);
  for (std::size_t c = 0; c < kChannels; ++c)
    statistics.points.add(statistics.channels[c] = {ranges.low[c], ranges.high[c]});
  Site site;
  site.name = "site";
  site.max_rows = 257;
  double last = std::numeric_limits<double>::infinity();
  for (int bits = 2; bits <= 8; ++bits) {
    QuantizeOptions options = preset_options(Preset::kBest);
    options.activation_bits = bits;
    const double error = error_of(plan_input(site, statistics, options, 8), x);
    EXPECT_LT(error, last) << bits << " bits";
    last = error;
  }
}

/// Squared error of an attention's outputs, simulated, against float.
double attention_error(const AttentionPlan& plan, const std::vector<float>& qkv, int n, int heads, int dim) {
  Attention layer("attention", heads, dim);
  layer.set_site(0);
  layer.set_plan(std::make_shared<const AttentionPlan>(plan));
  std::vector<float> out[2];
  for (const Execution execution : {Execution::kFloat, Execution::kInteger}) {
    ExecContext context;
    context.kernels = &kernels::kernels_for(best_isa());
    context.execution = execution;
    std::vector<float>& y = out[execution == Execution::kInteger];
    y.resize(static_cast<std::size_t>(n * heads * dim));
    layer.forward(context, qkv.data(), 1, n, {}, y.data());
  }
  double error = 0.0;
  for (std::size_t i = 0; i < out[0].size(); ++i)
    error += std::pow(static_cast<double>(out[0][i]) - static_cast<double>(out[1][i]), 2);
  return error;
}

/// Values with a common offset per channel, which flat rows that round to zero would lose.
TEST(NeverWorse, AttentionWithFlatAndPeakedRows) {
  constexpr int kHeads = 2, kDim = 32;
  for (const int n : {50, 257, 1500})
    for (const float spread : {0.1f, 1.0f, 3.0f})  // of q and k: flat to peaked rows
      for (const int bits : {4, 8}) {
        Random random(static_cast<std::uint64_t>(n + bits));
        std::vector<float> qkv(static_cast<std::size_t>(n) * 3 * kHeads * kDim);
        for (std::size_t i = 0; i < qkv.size(); ++i) {
          const bool value = i / (kHeads * kDim) % 3 == 2;
          qkv[i] = (value ? 1.0f : spread) * static_cast<float>(random.normal()) +
                   (value ? 0.5f * static_cast<float>(i % kDim % 5) : 0.0f);
        }
        AttentionPlan layer;
        layer.qkv.grouping = QkvGrouping::kTensor;
        layer.qkv.bits = layer.softmax.bits = bits;
        Bounds all[3];
        for (std::size_t i = 0; i < qkv.size(); ++i) {
          Bounds& b = all[i / (kHeads * kDim) % 3];
          b = {std::min(b.lower, qkv[i]), std::max(b.upper, qkv[i])};
        }
        layer.qkv.q = {all[0]}, layer.qkv.k = {all[1]}, layer.qkv.v = {all[2]};
        layer.softmax.grouping = Grouping::kLayer;
        layer.softmax.groups = {{0.0f, spread > 2.0f ? 1.0f : 0.2f}};
        AttentionPlan best;
        best.qkv.grouping = QkvGrouping::kRow;
        best.qkv.bits = best.softmax.bits = bits;
        best.qkv.centred = true;
        best.softmax.grouping = Grouping::kUpperBound;
        const double centred = attention_error(best, qkv, n, kHeads, kDim);
        EXPECT_LT(centred, attention_error(layer, qkv, n, kHeads, kDim)) << n << ", " << spread << ", " << bits;
        best.qkv.centred = false;
        if (spread == 1.0f) {  // many probabilities round to zero
          EXPECT_LT(centred, attention_error(best, qkv, n, kHeads, kDim)) << n << ", " << bits;
        }
      }
}

TEST(NeverWorse, SitesTakeTheBetterPlan) {
  const std::unique_ptr<Model> model = test::small_vit();
  Runner runner(*model, Execution::kFloat, best_isa(), 1);
  const auto load = [&](std::int64_t i, float* image) { test::small_image(*model, i, image); };
  const Statistics statistics = collect_statistics(runner, test::kSmallImages, 3, load);
  std::size_t changed = 0;
  for (const Grouping grouping : {Grouping::kStaticGroup, Grouping::kIgq, Grouping::kScale, Grouping::kUpperBound})
    for (const int bits : {4, 8}) {
      QuantizeOptions options;
      options.activation_bits = bits;
      options.grouping = grouping;
      QuantizationPlan plan = make_plan(*model, statistics, options, runner.pool());
      const QuantizationPlan before = plan;
      const std::vector<BetterPlan> better =
          take_better_plans(runner, statistics, options, test::kSmallImages, load, plan);
      changed += better.size();
      for (const BetterPlan& b : better) EXPECT_LT(b.layer, b.planned) << b.site;
      for (const auto& [name, linear] : plan.linears) {
        const bool named = std::any_of(better.begin(), better.end(), [&n = name](auto& b) { return b.site == n; });
        EXPECT_EQ(linear.input.grouping, named ? Grouping::kLayer : before.linears.at(name).input.grouping) << name;
      }
      EXPECT_TRUE(take_better_plans(runner, statistics, options, test::kSmallImages, load, plan).empty())
          << "one quantizer per layer has nothing better, what was better stays";
    }
  EXPECT_GT(changed, 0u) << "mean bounds clip at 8 bits";
}

}  // namespace
}  // namespace igq
