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
    auto distance = [&](Bounds b) {
      return (p.upper - b.upper) * (p.upper - b.upper) + (p.lower - b.lower) * (p.lower - b.lower);
    };
    const auto nearest =
        std::min_element(groups.begin(), groups.end(), [&](Bounds a, Bounds b) { return distance(a) < distance(b); });
    sum += expected_error(p, *nearest, bits);
  }
  return sum;
}

TEST(LeastErrorBounds, ClippingShareIsThatOfNormalTokens) {
  // Largest of n normal values z with n Q(z) = 1/2; E[(x - u)^2; x > u] = (1 + u^2) Q(u) - u phi(u).
  for (const double z : {2.42, 2.81})
    for (const double fraction : {0.6, 0.7, 0.8}) {
      const double u = fraction * z, tail = 0.5 * std::erfc(u / std::sqrt(2.0)),
                   density = std::exp(-u * u / 2.0) / std::sqrt(2.0 * std::acos(-1.0));
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
  EXPECT_EQ(least_error_bounds({{-1.0f, 2.0f}, {-1.0f, 2.0f}}, 2, 8, 1),
            (std::vector<Bounds>{{-1.0f, 2.0f}, {-1.0f, 2.0f}}));
  EXPECT_EQ(least_error_bounds({}, 2, 4, 1), (std::vector<Bounds>{{}, {}}));
}

}  // namespace
}  // namespace igq
