#include "calibration/error_bounds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quant/clustering.h"

namespace igq {
namespace {

constexpr int kRounds = 4;
constexpr std::size_t kMembers = 1024;  // of one group that are looked at
constexpr std::array<double, 8> kQuantiles{0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0};

std::size_t nearest(const std::vector<Bounds>& groups, Bounds point) {
  std::size_t best = 0;
  float least = std::numeric_limits<float>::infinity();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const float du = point.upper - groups[g].upper, dl = point.lower - groups[g].lower, d = du * du + dl * dl;
    if (d < least) {
      least = d;
      best = g;
    }
  }
  return best;
}

/// The best pair of a quantile of the minima and one of the maxima.
Bounds best_bounds(const std::vector<Bounds>& members, int bits) {
  std::vector<float> lower, upper;
  for (const Bounds& b : members) {
    lower.push_back(b.lower);
    upper.push_back(b.upper);
  }
  std::sort(lower.begin(), lower.end());
  std::sort(upper.begin(), upper.end());
  const auto last = static_cast<double>(members.size() - 1);
  Bounds best;
  double least = std::numeric_limits<double>::infinity();
  for (const double ql : kQuantiles)
    for (const double qu : kQuantiles) {
      const Bounds bounds{lower[static_cast<std::size_t>((1.0 - ql) * last + 0.5)],
                          upper[static_cast<std::size_t>(qu * last + 0.5)]};
      if (bounds.lower > bounds.upper) continue;
      double error = 0.0;
      for (const Bounds& member : members) error += expected_error(member, bounds, bits);
      if (error < least) {
        least = error;
        best = bounds;
      }
    }
  return best;
}

}  // namespace

double expected_error(Bounds channel, Bounds bounds, int bits) {
  // The quantizer widens its bounds to zero.
  const double lower = std::min(static_cast<double>(bounds.lower), 0.0),
               upper = std::max(static_cast<double>(bounds.upper), 0.0);
  const double step = (upper - lower) / code_max(bits);
  const double above = std::max(static_cast<double>(channel.upper) - upper, 0.0),
               below = std::max(lower - static_cast<double>(channel.lower), 0.0);
  return step * step / 12.0 + kClippingShare * (above * above + below * below);
}

std::vector<Bounds> least_error_bounds(const std::vector<Bounds>& points, int groups, int bits, std::uint64_t seed) {
  std::vector<Bounds> bounds = cluster_bounds(points, groups, seed).centres;
  std::vector<Bounds> best = bounds;
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round <= kRounds; ++round) {
    std::vector<std::vector<Bounds>> members(bounds.size());
    double error = 0.0;
    for (const Bounds& point : points) {
      const std::size_t g = nearest(bounds, point);
      error += expected_error(point, bounds[g], bits);
      members[g].push_back(point);
    }
    if (error < least) {
      least = error;
      best = bounds;
    }
    for (std::size_t g = 0; g < bounds.size() && round < kRounds; ++g) {
      if (members[g].empty()) continue;
      const std::size_t stride = (members[g].size() + kMembers - 1) / kMembers;
      std::vector<Bounds> some;
      for (std::size_t i = 0; i < members[g].size(); i += stride) some.push_back(members[g][i]);
      bounds[g] = best_bounds(some, bits);
    }
  }
  std::stable_sort(best.begin(), best.end(), [](Bounds a, Bounds b) { return a.upper - a.lower < b.upper - b.lower; });
  return best;
}

}  // namespace igq
