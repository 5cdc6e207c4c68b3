// Scales that are multiples of one unit: widths are held, slots stay within their budget, the unit is the one of least
// error.
#include "calibration/slot_ratios.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "quant/grouping.h"

namespace igq {
namespace {

std::vector<float> lognormal_widths(double sigma) {
  Random random(3);
  std::vector<float> widths;
  for (int i = 0; i < 4000; ++i) widths.push_back(std::exp(static_cast<float>(sigma * random.normal())));
  return widths;
}

float held(const IntegerRatios& ratios, std::size_t g, int bits) {
  return static_cast<float>(ratios.multiples[g]) * ratios.unit * static_cast<float>(code_max(bits));
}

struct Cost {
  double error = 0.0, extra = 0.0;  // sum of squared group widths; slots beyond one, both as means
};

Cost cost_of(const IntegerRatios& ratios, const std::vector<float>& widths, int bits) {
  Cost cost;
  for (const float w : widths) {
    std::size_t g = 0;
    while (g + 1 < ratios.multiples.size() && held(ratios, g, bits) < w) ++g;
    EXPECT_GE(held(ratios, g, bits), w);
    const double h = held(ratios, g, bits);
    cost.error += h * h / static_cast<double>(widths.size());
    cost.extra += ((ratios.multiples[g] + slot_multiple(bits) - 1) / slot_multiple(bits) - 1) /
                  static_cast<double>(widths.size());
  }
  return cost;
}

TEST(SlotRatios, HoldEveryWidthWithinTheBudget) {
  for (const double sigma : {0.1, 0.5, 1.0})
    for (const int bits : {2, 3, 4, 5, 6, 7, 8})
      for (const int channels : {4, 48, 96, 384, 1000, 3072})
        for (const int groups : {1, 3, 8}) {
          SCOPED_TRACE(::testing::Message()
                       << sigma << " " << bits << " bits, " << channels << " channels, " << groups << " groups");
          const std::vector<float> widths = lognormal_widths(sigma);
          const IntegerRatios ratios = slot_ratios(widths, groups, bits, channels);
          if (!ratios_fit_byte(bits)) {
            EXPECT_LE(ratios.multiples.size(), static_cast<std::size_t>(groups));
          }
          EXPECT_TRUE(std::is_sorted(ratios.multiples.begin(), ratios.multiples.end()));
          EXPECT_EQ(std::adjacent_find(ratios.multiples.begin(), ratios.multiples.end()), ratios.multiples.end());
          ActivationPlan plan;
          plan.bits = bits;
          plan.multiples = ratios.multiples;
          EXPECT_TRUE(fits_slots(plan, channels));
          const Cost cost = cost_of(ratios, widths, bits);
          EXPECT_LE(cost.extra * channels, extra_slot_budget(channels));
        }
}

TEST(SlotRatios, LoseLittleAgainstFreeScalesAndWinWithGroups) {
  for (const int bits : {4, 6, 8}) {
    const std::vector<float> widths = lognormal_widths(0.5);
    double ideal = 0.0;
    for (const float w : widths)
      ideal += static_cast<double>(w) * static_cast<double>(w) / static_cast<double>(widths.size());
    const double one = cost_of(slot_ratios(widths, 1, bits, 384), widths, bits).error,
                 eight = cost_of(slot_ratios(widths, 8, bits, 384), widths, bits).error;
    if (bits > 5) {
      EXPECT_LT(eight, 0.2 * one);
    }
    EXPECT_LT(eight, (bits == 8 ? 2.8 : 1.9) * ideal) << bits;
  }
}

TEST(SlotRatios, AllMultiplesOfAByteAtFewBits) {
  for (const int bits : {2, 3, 4, 5}) {
    ASSERT_TRUE(ratios_fit_byte(bits));
    const IntegerRatios ratios = slot_ratios(lognormal_widths(1.0), 8, bits, 100);
    ASSERT_GE(ratios.multiples.size(), static_cast<std::size_t>(slot_multiple(bits)));
    for (std::int32_t m = 1; m <= slot_multiple(bits); ++m)
      EXPECT_EQ(ratios.multiples[static_cast<std::size_t>(m - 1)], m);
  }
  EXPECT_FALSE(ratios_fit_byte(6));
}

TEST(SlotRatios, NothingOrAllTheSame) {
  EXPECT_EQ(slot_ratios({}, 8, 4, 10).unit, 1.0f);
  EXPECT_EQ(slot_ratios({}, 8, 8, 10).multiples, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(slot_ratios({0.0f, 0.0f}, 8, 8, 10).multiples, (std::vector<std::int32_t>{1}));
  const IntegerRatios same = slot_ratios(std::vector<float>(50, 3.0f), 8, 8, 10);
  EXPECT_GE(held(same, same.multiples.size() - 1, 8), 3.0f);
  EXPECT_LE(held(same, same.multiples.size() - 1, 8), 3.01f);
}

TEST(SlotRatios, BudgetsCompleteStepsOf64) {
  EXPECT_EQ(extra_slot_budget(48), 16);
  EXPECT_EQ(extra_slot_budget(96), 32);
  EXPECT_EQ(extra_slot_budget(384), 64);
  EXPECT_EQ(extra_slot_budget(1536), 128);
}

}  // namespace
}  // namespace igq
