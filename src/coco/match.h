// Which detections of one category in one image match which objects: the greedy matching of COCO's metric.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "coco/evaluate.h"

namespace igq::coco {

/// Sizes of objects and detections, bounds included on both sides.
inline constexpr std::array<std::array<double, 2>, kAreas> kAreaRanges = {
    {{0.0, 1e10}, {0.0, 32.0 * 32.0}, {32.0 * 32.0, 96.0 * 96.0}, {96.0 * 96.0, 1e10}}};

/// IoU thresholds: numpy's linspace(0.5, 0.95, 10).
std::array<double, kThresholds> iou_thresholds();

/// A detection after matching; bit t of the masks belongs to threshold t.
struct Outcome {
  double score = 0.0;
  std::uint16_t matched = 0, ignored = 0;
};

/// One category in one image for one range of area.
struct Matched {
  std::vector<Outcome> outcomes;  ///< by descending score, at most 100
  std::int64_t objects = 0;       ///< that count
};

/// All area ranges at once. `truth` and `found` are the objects and detections in the file's order.
std::array<Matched, kAreas> match(const std::vector<const Annotation*>& truth,
                                  const std::vector<const Detection*>& found, const Dataset& dataset, IouType type);

}  // namespace igq::coco
