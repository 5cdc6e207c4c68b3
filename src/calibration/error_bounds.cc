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
      const Bounds bounds{lower[static_cast<std::size_t>((1.0 - ql) * last + 0.5)], upper[static_cast<std::size_t>(qu * last + 0.5)]};
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
  const double lower = std::min(static_cast<double>(bounds.lower), 0.0), upper = std::max(static_cast<double>(bounds.upper), 0.0);
  const double step = (upper - lower) / code_max(bits);
  const double above = std::max(static_cast<double>(channel.upper) - upper, 0.0), below = std::max(lower - static_cast<double>(channel.lower), 0.0);
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

/// The smallest float not below `unit`, so that rounding it clips nothing; 1 where nothing has a width.
static float unit_of(double unit) {
  float result = static_cast<float>(unit);
  if (static_cast<double>(result) < unit) result = std::nextafter(result, std::numeric_limits<float>::infinity());
  return std::isnormal(result) && std::isfinite(1.0f / result) ? result : 1.0f;
}

bool ratios_fit_byte(int bits) { return 255 / code_max(bits) >= 8; }

IntegerRatios byte_ratios(const std::vector<float>& widths, int bits) {
  const int multiples = 255 / code_max(bits);
  const float widest = widths.empty() ? 0.0f : *std::max_element(widths.begin(), widths.end());
  double best = 0.0, least = std::numeric_limits<double>::infinity();
  constexpr int kSteps = 64;  // bases from an eighth of the one that holds everything to that one
  for (int i = 0; i <= kSteps && widest > 0.0f; ++i) {
    const double base = static_cast<double>(widest) / multiples * std::exp2(-3.0 * i / kSteps);
    double error = 0.0;
    for (const float w : widths) {
      const double width = static_cast<double>(w), held = base * std::clamp(std::ceil(width / base), 1.0, static_cast<double>(multiples));
      const auto half = static_cast<float>(width / 2.0), bound = static_cast<float>(held / 2.0);
      error += expected_error({-half, half}, {-bound, bound}, bits);
    }
    if (error < least) {
      least = error;
      best = base;
    }
  }
  IntegerRatios result;
  for (int m = 1; m <= multiples; ++m) result.multiples.push_back(m);
  result.unit = unit_of(best / code_max(bits));
  return result;
}

IntegerRatios group_ratios(const std::vector<Bounds>& points, int groups, int bits, int channels, double weight_rms) {
  const auto width_of = [](Bounds b) { return b.upper - b.lower; };
  std::vector<float> widths(points.size());
  std::transform(points.begin(), points.end(), widths.begin(), width_of);
  const std::vector<float> tops = cluster_widths(widths, groups);
  const double widest = static_cast<double>(tops.back());
  IntegerRatios result;
  result.multiples.assign(tops.size(), 1);
  if (!(widest > 0.0)) return result;
  const auto group_of = [&](float width) { return static_cast<std::size_t>(std::lower_bound(tops.begin(), tops.end() - 1, width) - tops.begin()); };
  // Per group: members, and the largest magnitudes they hold beyond half of what their range leaves free of the codes'.
  std::vector<double> members(tops.size(), 0.0), magnitudes(tops.size(), 0.0), squares(tops.size(), 0.0);
  for (const Bounds& b : points) {
    const std::size_t g = group_of(width_of(b));
    members[g] += 1.0;
    const double magnitude = static_cast<double>(std::max(-b.lower, b.upper)) - 0.5 * static_cast<double>(width_of(b));
    magnitudes[g] += magnitude;
    squares[g] += magnitude * magnitude;
  }
  constexpr double kShare = 0.7;  // of int32, for images whose channels are wider than these
  const double most = kShare * std::exp2(31) / channels;
  double least = std::numeric_limits<double>::infinity();
  std::vector<std::int32_t> multiples(tops.size());
  for (int largest = 1; largest <= kMaxMultiple; ++largest) {
    const double unit = widest / largest;  // as a width
    double error = 0.0, sum = 0.0, sum_of_squares = 0.0;
    for (std::size_t g = 0; g < tops.size(); ++g) {
      const double m = std::clamp(std::ceil(static_cast<double>(tops[g]) / unit * (1.0 - 1e-6)), 1.0, static_cast<double>(largest));
      multiples[g] = static_cast<std::int32_t>(m);
      error += members[g] * m * m * unit * unit;
      const double half = 0.5 * m * unit, in_codes = code_max(bits) / unit;
      sum += (magnitudes[g] + members[g] * half) * in_codes;
      sum_of_squares += (squares[g] + 2.0 * half * magnitudes[g] + members[g] * half * half) * in_codes * in_codes;
    }
    const auto count = static_cast<double>(points.size());
    if (largest > 1 && std::min(128.0 * sum / count, weight_rms * std::sqrt(sum_of_squares / count)) > most) break;
    if (error >= least * (1.0 - 1e-9)) continue;  // the fewest bits of those that are as good
    least = error;
    result = {multiples, unit_of(unit / code_max(bits))};
  }
  return result;
}

}  // namespace igq
