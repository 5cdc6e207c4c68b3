#include "quant/clustering.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "base/random.h"

namespace igq {
namespace {

double distance(Bounds a, Bounds b) {
  const double dl = static_cast<double>(a.lower) - static_cast<double>(b.lower);
  const double du = static_cast<double>(a.upper) - static_cast<double>(b.upper);
  return dl * dl + du * du;
}

std::vector<Bounds> seed_centres(const std::vector<Bounds>& points, std::size_t clusters, std::uint64_t seed) {
  Random random(seed);
  std::vector<Bounds> centres{points[random.below(points.size())]};
  std::vector<double> nearest(points.size(), std::numeric_limits<double>::infinity());
  while (centres.size() < clusters) {
    double total = 0.0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      nearest[i] = std::min(nearest[i], distance(points[i], centres.back()));
      total += nearest[i];
    }
    double target = random.uniform() * total;
    std::size_t chosen = 0;
    for (std::size_t i = 0; i < points.size(); ++i)
      if (nearest[i] > 0.0) {
        chosen = i;
        target -= nearest[i];
        if (target <= 0.0) break;
      }
    centres.push_back(points[chosen]);
  }
  return centres;
}

}  // namespace

Clusters cluster_bounds(const std::vector<Bounds>& points, int clusters, std::uint64_t seed) {
  const auto k = static_cast<std::size_t>(std::max(clusters, 1));
  Clusters result;
  result.assignment.assign(points.size(), 0);
  if (points.empty()) {
    result.centres.assign(k, Bounds{});
    return result;
  }
  std::vector<Bounds>& centres = result.centres;
  centres = seed_centres(points, k, seed);
  std::vector<double> gap(points.size());
  for (int round = 0; round < 100; ++round) {
    bool changed = round == 0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      std::size_t best = 0;
      gap[i] = distance(points[i], centres[0]);
      for (std::size_t j = 1; j < k; ++j)
        if (const double d = distance(points[i], centres[j]); d < gap[i]) {
          gap[i] = d;
          best = j;
        }
      changed = changed || result.assignment[i] != static_cast<std::int32_t>(best);
      result.assignment[i] = static_cast<std::int32_t>(best);
    }
    if (!changed) break;
    std::vector<double> lower(k, 0.0), upper(k, 0.0);
    std::vector<std::size_t> count(k, 0);
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto j = static_cast<std::size_t>(result.assignment[i]);
      lower[j] += static_cast<double>(points[i].lower);
      upper[j] += static_cast<double>(points[i].upper);
      ++count[j];
    }
    for (std::size_t j = 0; j < k; ++j) {
      if (count[j] != 0) {
        const auto n = static_cast<double>(count[j]);
        centres[j] = {static_cast<float>(lower[j] / n), static_cast<float>(upper[j] / n)};
        continue;
      }
      const auto farthest = static_cast<std::size_t>(std::max_element(gap.begin(), gap.end()) - gap.begin());
      centres[j] = points[farthest];
      gap[farthest] = 0.0;
    }
  }
  // Ascending by width, so that tables and files read well.
  std::vector<std::int32_t> order(k), rank(k);
  std::iota(order.begin(), order.end(), 0);
  auto width = [&](std::int32_t j) {
    return centres[static_cast<std::size_t>(j)].upper - centres[static_cast<std::size_t>(j)].lower;
  };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return width(a) < width(b); });
  std::vector<Bounds> sorted(k);
  for (std::size_t j = 0; j < k; ++j) {
    sorted[j] = centres[static_cast<std::size_t>(order[j])];
    rank[static_cast<std::size_t>(order[j])] = static_cast<std::int32_t>(j);
  }
  centres = std::move(sorted);
  for (std::int32_t& a : result.assignment) a = rank[static_cast<std::size_t>(a)];
  return result;
}

std::vector<float> cluster_widths(std::vector<float> widths, int groups) {
  const auto g_count = static_cast<std::size_t>(std::max(groups, 1));
  std::sort(widths.begin(), widths.end());
  if (widths.empty() || !(widths.back() > 0.0f))
    return std::vector<float>(g_count, widths.empty() ? 0.0f : widths.back());
  // Bins of equal count; a bin stands for its largest width.
  constexpr std::size_t kBins = 1024;
  std::vector<double> top, count;
  const std::size_t n = widths.size(), bins = std::min(n, kBins);
  for (std::size_t b = 0; b < bins; ++b) {
    const std::size_t begin = b * n / bins, end = (b + 1) * n / bins;
    const auto w = static_cast<double>(widths[end - 1]);
    if (!top.empty() && top.back() == w)
      count.back() += static_cast<double>(end - begin);
    else
      top.push_back(w), count.push_back(static_cast<double>(end - begin));
  }
  const std::size_t m = top.size();
  std::vector<double> before(m + 1, 0.0);
  std::partial_sum(count.begin(), count.end(), before.begin() + 1);
  // cost[j]: the first j bins with the groups so far; the last group [i, j) holds top[j - 1].
  std::vector<double> cost(m + 1, std::numeric_limits<double>::infinity());
  cost[0] = 0.0;
  std::vector<std::vector<std::size_t>> from(g_count, std::vector<std::size_t>(m + 1, 0));
  for (std::size_t g = 0; g < g_count; ++g) {
    std::vector<double> next(cost);  // a group may stay empty
    for (std::size_t j = 0; j <= m; ++j) from[g][j] = j;
    for (std::size_t j = 1; j <= m; ++j)
      for (std::size_t i = 0; i < j; ++i)
        if (const double c = cost[i] + (before[j] - before[i]) * top[j - 1] * top[j - 1]; c < next[j]) {
          next[j] = c;
          from[g][j] = i;
        }
    cost = std::move(next);
  }
  std::vector<float> result(g_count, static_cast<float>(top.back()));
  std::size_t j = m;
  for (std::size_t g = g_count; g-- > 0;) {
    if (j > 0)
      result[g] = static_cast<float>(top[j - 1]);
    else
      result[g] = g + 1 < g_count ? result[g + 1] : result[g];
    j = from[g][j];
  }
  return result;
}

}  // namespace igq
