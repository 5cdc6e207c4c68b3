// Clusters that become group bounds at calibration: k-means in the (min, max) plane (docs/method.md, section 3, Eqs.
// 5-6) and exact one-dimensional clustering of widths (section 8.1).
#pragma once

#include <cstdint>
#include <vector>

#include "quant/uniform.h"

namespace igq {

struct Clusters {
  std::vector<Bounds> centres;           ///< mean (min, max) of each cluster, ascending by width
  std::vector<std::int32_t> assignment;  ///< [points]
};

/// k-means++ with a fixed seed, then alternation of assignment and means until the assignment is stable (at most 100
/// rounds). An empty cluster is re-seeded from the point farthest from its centre; with fewer distinct points than
/// clusters some stay empty and repeat a centre. Points must be finite; no points gives clusters {0, 0}.
Clusters cluster_bounds(const std::vector<Bounds>& points, int clusters, std::uint64_t seed);

/// The widths that `groups` scales should hold, ascending: minimises the sum over points of the squared group width,
/// every width rounded up to a group's (dynamic programming over the sorted widths, exact up to 1,024 distinct bins).
std::vector<float> cluster_widths(std::vector<float> widths, int groups);

}  // namespace igq
