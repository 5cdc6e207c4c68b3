// Error-minimising bounds of igq groups.
#include "calibration/error_bounds.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "quant/clustering.h"

#include "base/random.h"
#include "quant/clustering.h"

namespace igq {
namespace {

std::vector<Bounds> random_ranges(std::uint64_t seed) {
  Random random(seed);
  std::vector<Bounds> points;
  for (int i = 0; i < 3000; ++i) {
    const double spread = std::exp(random.normal()), middle = random.normal();
    points.push_back({static_cast<float>(middle - spread), static_cast<float>(middle + spread)});
  }
  return points;
}

double total_error(const std::vector<Bounds>& points, const std::vector<Bounds>& groups, int bits) {
  double sum = 0.0;
  for (const Bounds& p : points) {
    auto distance = [&](Bounds b) { return (p.upper - b.upper) * (p.upper - b.upper) + (p.lower - b.lower) * (p.lower - b.lower); };
    const auto nearest = std::min_element(groups.begin(), groups.end(), [&](Bounds a, Bounds b) { return distance(a) < distance(b); });
    sum += expected_error(p, *nearest, bits);
  }
  return sum;
}

TEST(LeastErrorBounds, ClippingShareIsThatOfNormalTokens) {
  // Largest of n normal values z with n Q(z) = 1/2; E[(x - u)^2; x > u] = (1 + u^2) Q(u) - u phi(u).
  for (const double z : {2.42, 2.81})
    for (const double fraction : {0.6, 0.7, 0.8}) {
      const double u = fraction * z, tail = 0.5 * std::erfc(u / std::sqrt(2.0)), density = std::exp(-u * u / 2.0) / std::sqrt(2.0 * std::acos(-1.0));
      const double share = ((1.0 + u * u) * tail - u * density) / ((z - u) * (z - u));
      EXPECT_GT(share, 0.4 * kClippingShare);
      EXPECT_LT(share, 2.0 * kClippingShare);
    }
}

TEST(LeastErrorBounds, BetterThanMeansAndWiderTheMoreBits) {
  const std::vector<Bounds> points = random_ranges(1);
  const std::vector<Bounds> means = cluster_bounds(points, 8, 5).centres;
  double last = 0.0;
  for (const int bits : {2, 4, 8}) {
    const std::vector<Bounds> bounds = least_error_bounds(points, 8, bits, 5);
    ASSERT_EQ(bounds.size(), 8u);
    EXPECT_LT(total_error(points, bounds, bits), total_error(points, means, bits)) << bits << " bits";
    double width = 0.0;
    for (const Bounds& b : bounds) width += static_cast<double>(b.upper - b.lower);
    EXPECT_GT(width, last);
    last = width;
  }
}

TEST(LeastErrorBounds, OneRangeIsKeptAndNoPointsGiveZeros) {
  EXPECT_EQ(least_error_bounds({{-1.0f, 2.0f}, {-1.0f, 2.0f}}, 2, 8, 1), (std::vector<Bounds>{{-1.0f, 2.0f}, {-1.0f, 2.0f}}));
  EXPECT_EQ(least_error_bounds({}, 2, 4, 1), (std::vector<Bounds>{{}, {}}));
}

TEST(RatioWidths, MultiplesOfOneBaseThatFitInAByte) {
  Random random(3);
  std::vector<float> widths;
  for (int i = 0; i < 2000; ++i) widths.push_back(std::exp(static_cast<float>(random.normal())));
  const float widest = *std::max_element(widths.begin(), widths.end());
  for (const int bits : {2, 3, 4, 5}) {
    ASSERT_TRUE(ratios_fit_byte(bits));
    const IntegerRatios ratios = byte_ratios(widths, bits);
    ASSERT_EQ(ratios.multiples.size(), static_cast<std::size_t>(255 / code_max(bits)));
    for (std::size_t i = 0; i < ratios.multiples.size(); ++i) EXPECT_EQ(ratios.multiples[i], static_cast<std::int32_t>(i + 1));
    EXPECT_LE(ratios.unit * static_cast<float>(ratios.multiples.back() * code_max(bits)), widest * 1.0001f);
  }
  EXPECT_FALSE(ratios_fit_byte(6));
  EXPECT_EQ(byte_ratios({}, 4).unit, 1.0f);
}

TEST(RatioWidths, GroupsHoldTheWidthsOfTheFreeOnesAndSumsFit) {
  Random random(3);
  std::vector<float> widths;
  std::vector<Bounds> points;
  for (int i = 0; i < 2000; ++i) {
    widths.push_back(std::exp(static_cast<float>(random.normal())));
    const float lower = -widths.back() * static_cast<float>(random.uniform());
    points.push_back({lower, lower + widths.back()});
  }
  const std::vector<float> tops = cluster_widths(widths, 8);
  for (const int channels : {64, 384, 3072, 16384})
    for (const int bits : {6, 8}) {
      const IntegerRatios ratios = group_ratios(points, 8, bits, channels, 40.0);
      ASSERT_EQ(ratios.multiples.size(), tops.size());
      const auto held = [&](std::size_t g) { return static_cast<float>(ratios.multiples[g]) * ratios.unit * static_cast<float>(code_max(bits)); };
      for (std::size_t g = 0; g < tops.size(); ++g) {
        EXPECT_GE(held(g), tops[g] * 0.999f);
        EXPECT_LT(held(g) - ratios.unit * static_cast<float>(code_max(bits)), tops[g]) << "rounded up by less than a unit";
      }
      // The sums of channels drawn from the points fit int32 (what Linear checks of an image).
      double largest = 0.0, squares = 0.0;
      for (const Bounds& b : points) {
        const float width = b.upper - b.lower;
        const auto g = static_cast<std::size_t>(std::lower_bound(tops.begin(), tops.end() - 1, width) - tops.begin());
        const UniformQuantizer q = make_centred_quantizer(b, static_cast<float>(ratios.multiples[g]) * ratios.unit, bits);
        const double code = ratios.multiples[g] * std::max(std::abs(q.zero_point), std::abs(code_max(bits) - q.zero_point));
        largest += code;
        squares += code * code;
      }
      if (ratios.multiples.back() > 1) {
        EXPECT_LT(std::min(largest / 2000 * 128, std::sqrt(squares / 2000) * 40) * channels, 0x1p31);
      }
    }
  EXPECT_EQ(group_ratios({}, 3, 8, 10, 40.0).multiples, (std::vector<std::int32_t>{1, 1, 1}));
}

}  // namespace
}  // namespace igq
