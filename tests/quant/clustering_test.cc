// Clusters that become bounds: the dynamic program against every choice there is, k-means against its own definition.
#include "quant/clustering.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/quant/fixture_cases.h"

namespace igq {
namespace {

/// Sum of squared group widths, every width rounded up to a group's.
double rounding_cost(const std::vector<float>& widths, const std::vector<float>& groups) {
  double cost = 0.0;
  for (const float w : widths) {
    const auto it = std::find_if(groups.begin(), groups.end(), [&](float g) { return g >= w; });
    EXPECT_NE(it, groups.end());
    cost += static_cast<double>(*it) * static_cast<double>(*it);
  }
  return cost;
}

TEST(ClusterWidths, AsGoodAsTryingEveryChoice) {
  for (const auto& c : test::quant_cases("widths")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const std::vector<float> widths = test::numbers(c["widths"]);
    const std::vector<float> groups = cluster_widths(widths, c["groups"]);
    ASSERT_EQ(groups.size(), c["groups"].get<std::size_t>());
    EXPECT_TRUE(std::is_sorted(groups.begin(), groups.end()));
    const double best = c["cost"];
    EXPECT_NEAR(rounding_cost(widths, groups), best, 1e-6 * (1.0 + best));
  }
}

TEST(ClusterWidths, NoPointsAndZeros) {
  EXPECT_EQ(cluster_widths({}, 3), (std::vector<float>{0.0f, 0.0f, 0.0f}));
  EXPECT_EQ(cluster_widths({0.0f, 0.0f}, 2), (std::vector<float>{0.0f, 0.0f}));
}

TEST(ClusterWidths, ManyWidthsAreAllHeldAndMoreGroupsNeverCostMore) {
  Random random(3);
  std::vector<float> widths;
  for (int i = 0; i < 5000; ++i) widths.push_back(std::exp(static_cast<float>(random.normal())));
  double last = std::numeric_limits<double>::infinity();
  for (const int groups : {1, 2, 4, 8, 12}) {
    const double cost = rounding_cost(widths, cluster_widths(widths, groups));
    EXPECT_LT(cost, last);
    last = cost;
  }
}

std::vector<Bounds> random_points(int count, std::uint64_t seed) {
  Random random(seed);
  std::vector<Bounds> points;
  for (int i = 0; i < count; ++i) {
    const double spread = std::exp(random.normal());
    points.push_back({static_cast<float>(-spread * random.uniform()), static_cast<float>(spread * random.uniform())});
  }
  return points;
}

double squared_distance(Bounds a, Bounds b) {
  const double l = static_cast<double>(a.lower) - static_cast<double>(b.lower),
               u = static_cast<double>(a.upper) - static_cast<double>(b.upper);
  return l * l + u * u;
}

TEST(ClusterBounds, EndsWithEveryPointAtItsNearestCentreAndCentresAtTheMean) {
  const std::vector<Bounds> points = random_points(700, 11);
  const Clusters clusters = cluster_bounds(points, 8, 5);
  ASSERT_EQ(clusters.centres.size(), 8u);
  std::vector<Bounds> sum(8);
  std::vector<float> count(8, 0.0f);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto own = static_cast<std::size_t>(clusters.assignment[i]);
    for (const Bounds& other : clusters.centres)
      EXPECT_LE(squared_distance(points[i], clusters.centres[own]), squared_distance(points[i], other));
    sum[own].lower += points[i].lower;
    sum[own].upper += points[i].upper;
    count[own] += 1.0f;
  }
  for (std::size_t g = 0; g < 8; ++g) {
    ASSERT_GT(count[g], 0.0f);
    EXPECT_NEAR(clusters.centres[g].lower, sum[g].lower / count[g], 1e-4);
    EXPECT_NEAR(clusters.centres[g].upper, sum[g].upper / count[g], 1e-4);
    const Bounds before = clusters.centres[g == 0 ? 0 : g - 1];
    EXPECT_GE(clusters.centres[g].upper - clusters.centres[g].lower, before.upper - before.lower);
  }
}

TEST(ClusterBounds, TheSameSeedGivesTheSameClusters) {
  const std::vector<Bounds> points = random_points(300, 12);
  const Clusters a = cluster_bounds(points, 6, 42), b = cluster_bounds(points, 6, 42);
  EXPECT_EQ(a.centres, b.centres);
  EXPECT_EQ(a.assignment, b.assignment);
  // The seed decides where the alternation starts, and on points without clusters where it ends.
  int different = 0;
  for (std::uint64_t seed = 43; seed < 53; ++seed)
    different += cluster_bounds(points, 6, seed).assignment != a.assignment;
  EXPECT_GT(different, 0);
}

TEST(ClusterBounds, SeparatedClustersAreFound) {
  std::vector<Bounds> points;
  Random random(2);
  for (int i = 0; i < 90; ++i) {
    const float size = i % 3 == 0 ? 1.0f : i % 3 == 1 ? 10.0f : 100.0f;
    points.push_back({-size * (1.0f + 0.01f * static_cast<float>(random.uniform())), size});
  }
  const Clusters clusters = cluster_bounds(points, 3, 1);
  for (std::size_t i = 0; i < points.size(); ++i) EXPECT_EQ(clusters.assignment[i], static_cast<std::int32_t>(i % 3));
}

TEST(ClusterBounds, FewerDistinctPointsThanClusters) {
  const Clusters clusters = cluster_bounds({{-1.0f, 1.0f}, {-1.0f, 1.0f}, {-2.0f, 2.0f}}, 4, 9);
  ASSERT_EQ(clusters.centres.size(), 4u);
  for (const Bounds& centre : clusters.centres)
    EXPECT_TRUE((centre == Bounds{-1.0f, 1.0f} || centre == Bounds{-2.0f, 2.0f}));
  EXPECT_EQ(cluster_bounds({}, 2, 9).centres, (std::vector<Bounds>{{}, {}}));
}

}  // namespace
}  // namespace igq
