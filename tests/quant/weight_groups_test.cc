// Weight groups along the inputs: every code expands to a signed byte and back, groups follow their own ranges, what
// contradicts itself is refused.
#include "quant/weight_groups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "igq/error.h"
#include "quant/weights.h"

namespace igq {
namespace {

/// [out][in], spreads that differ from group to group of 16 inputs.
std::vector<float> uneven_weights(int in, int out, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> w;
  for (int o = 0; o < out; ++o)
    for (int k = 0; k < in; ++k)
      w.push_back(static_cast<float>(random.normal() * std::exp2(-(k / 16 % 4)) + (k / 16 % 3 == 2 ? 0.3 : 0.0)));
  return w;
}

double error_of(const std::vector<float>& w, const WeightPlan& plan, int in, int out) {
  double sum = 0.0;
  const int offset = 1 << (plan.code_bits() - 1);
  for (int o = 0; o < out; ++o)
    for (int k = 0; k < in; ++k) {
      const auto n = static_cast<std::size_t>(o);
      const int code = plan.codes[static_cast<std::size_t>(k * out + o)] + offset - plan.zero_point[n];
      sum += std::pow(
          static_cast<double>(plan.scale[n]) * code - static_cast<double>(w[static_cast<std::size_t>(o * in + k)]), 2);
    }
  return sum;
}

TEST(WeightGroups, MultipliersFillAByte) {
  for (int bits = 2; bits <= kMaxGroupedBits; ++bits)
    for (int zero = 0; zero <= code_max(bits); ++zero) {
      const int m = max_multiplier(bits, zero);
      EXPECT_LT(m, 1 << multiplier_bits(bits));
      EXPECT_LE(m * std::max(zero, code_max(bits) - zero), kMaxExpandedCode);
      EXPECT_GT((m + 1) * std::max(zero, code_max(bits) - zero), kMaxExpandedCode);
    }
}

TEST(WeightGroups, OnlyWhereTheyApply) {
  EXPECT_EQ(effective_group_size(32, 4, 96), 32);
  EXPECT_EQ(effective_group_size(32, 5, 96), 0);
  EXPECT_EQ(effective_group_size(96, 4, 96), 0);
  EXPECT_EQ(effective_group_size(0, 4, 96), 0);
  EXPECT_EQ(weight_group_count(97, 32), 4);
}

TEST(WeightGroups, CodesExpandAndComeBack) {
  for (const auto& [in, group_size] : {std::pair{64, 16}, {37, 8}, {5, 4}, {33, 32}, {9, 1}})
    for (int bits = 2; bits <= kMaxGroupedBits; ++bits) {
      const int out = 7;
      const WeightPlan plan = quantize_grouped_weights(uneven_weights(in, out, 3), in, out, bits, group_size,
                                                       std::vector<float>{1.0f, 0.8f});
      EXPECT_EQ(plan.code_bits(), 8);
      check_weight_groups(plan);
      const AlignedBuffer<std::int8_t> codes = group_codes(plan);
      for (const std::int8_t c : codes) {
        EXPECT_GE(c, -(1 << (bits - 1)));
        EXPECT_LT(c, 1 << (bits - 1));
      }
      WeightPlan back = plan;
      std::fill(back.codes.begin(), back.codes.end(), std::int8_t{0});
      expand_group_codes(back, codes);
      EXPECT_TRUE(std::equal(plan.codes.begin(), plan.codes.end(), back.codes.begin()));
    }
}

TEST(WeightGroups, FollowTheirOwnRanges) {
  const int in = 256, out = 12;
  const std::vector<float> w = uneven_weights(in, out, 5);
  for (int bits = 2; bits <= kMaxGroupedBits; ++bits) {
    const double plain = error_of(w, quantize_weights(w, in, out, bits, 0.0), in, out);
    const double grouped =
        error_of(w, quantize_grouped_weights(w, in, out, bits, 16, std::vector<float>{1.0f, 0.8f}), in, out);
    EXPECT_LT(grouped, 0.5 * plain) << bits << " bits";
  }
}

TEST(WeightGroups, ImportanceDrawsTheClipping) {
  // One outlier that does not matter: the group is clipped to what does.
  std::vector<float> w(16, 0.0f), importance(16, 1.0f);
  Random random(8);
  for (float& v : w) v = static_cast<float>(random.normal());
  w[3] = 6.0f;
  importance[3] = 1e-6f;
  w.insert(w.end(), w.begin(), w.begin() + 16);
  importance.insert(importance.end(), 16, 1.0f);  // the second group is the same, its outlier matters
  const ChannelGroups groups = search_weight_groups(w, importance, 4, 16, 1.0f);
  EXPECT_LT(groups.multiplier[0], groups.multiplier[1]);
}

TEST(WeightGroups, DegenerateGroups) {
  const std::vector<std::vector<float>> rows = {
      std::vector<float>(12, 0.0f),                    // nothing
      std::vector<float>(12, 2.5f),                    // a constant above zero
      std::vector<float>(12, -1.0f),                   // and below
      {0, 0, 0, 0, 1, 2, 3, 4, -1, -2, -3, -4},        // nothing, one-sided, one-sided
      {1e-30f, 0, 0, 0, 1e-42f, 0, 0, 0, 1, 1, 1, 1},  // far apart, a denormal
  };
  for (const auto& w : rows)
    for (int bits = 2; bits <= kMaxGroupedBits; ++bits) {
      const WeightPlan plan = quantize_grouped_weights(w, 12, 1, bits, 4, std::vector<float>{1.0f});
      check_weight_groups(plan);
      float largest = 0.0f;
      for (const float v : w) largest = std::max(largest, std::abs(v));
      EXPECT_TRUE(std::isfinite(plan.scale[0]) && plan.scale[0] > 0.0f);
      for (std::size_t k = 0; k < w.size(); ++k)
        EXPECT_NEAR(plan.scale[0] * static_cast<float>(plan.codes[k]), w[k],
                    largest / static_cast<float>(code_max(bits)) + 1e-6f)
            << bits << " bits";
    }
}

TEST(WeightGroups, WhatContradictsItselfIsRefused) {
  const WeightPlan good = quantize_grouped_weights(uneven_weights(20, 3, 1), 20, 3, 4, 8, std::vector<float>{1.0f});
  const auto refused = [&](auto edit) {
    WeightPlan plan = good;
    edit(plan);
    EXPECT_THROW(group_codes(plan), Error);
  };
  refused([](WeightPlan& p) { p.multiplier[0] = 0; });
  refused([](WeightPlan& p) { p.multiplier[0] = 16; });
  refused([](WeightPlan& p) { p.multiplier[0] = 15, p.group_zero[0] = 0; });
  refused([](WeightPlan& p) { p.group_zero[4] = 16; });
  refused([](WeightPlan& p) { p.multiplier.pop_back(); });
  refused([](WeightPlan& p) { p.group_size = 10; });
  refused([](WeightPlan& p) { p.bits = 5; });
  refused([](WeightPlan& p) { p.multiplier[0] = 7, p.codes[0] = 3; });
  refused([](WeightPlan& p) { p.multiplier[0] = 1, p.group_zero[0] = 0, p.codes[0] = -1; });
}

}  // namespace
}  // namespace igq
