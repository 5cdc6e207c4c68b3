// Greedy non-maximum suppression, equal to mmcv 2.x (offset 0): boxes in descending order of score, ties in the order
// given; a kept box removes every later one with IoU > threshold, where IoU = inter / (area_a + area_b - inter) in
// float32 and inter = max(0, w) * max(0, h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "detection/box.h"

namespace igq::detection {

inline constexpr std::size_t kKeepAll = SIZE_MAX;

/// Indices in descending order of score; equal scores in ascending order of index, NaN last.
std::vector<int> order_by_score(std::span<const float> scores);

/// Indices of the boxes kept, best first, at most `max_kept` of them.
std::vector<int> nms(std::span<const Box> boxes, std::span<const float> scores, float iou_threshold,
                     std::size_t max_kept = kKeepAll);

/// From this many boxes on, mmcv's batched_nms runs one pass per id (`split_thr`).
inline constexpr std::size_t kNmsSplitThreshold = 10000;

/// nms among boxes of equal `ids` (classes or levels, not negative). As in mmcv boxes of different ids are moved apart
/// by id * (largest coordinate + 1) in float32, and the rounding of the moved coordinates takes part in the IoU.
std::vector<int> batched_nms(std::span<const Box> boxes, std::span<const float> scores, std::span<const int> ids,
                             float iou_threshold, std::size_t max_kept = kKeepAll,
                             std::size_t split_threshold = kNmsSplitThreshold);

}  // namespace igq::detection
