// COCO's detection metric, equal to pycocotools' COCOeval to the last bit: precision at 101 points of recall and final
// recall, for ten IoU thresholds, every category, four ranges of area and three numbers of detections per image.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "coco/dataset.h"
#include "coco/detections.h"

namespace igq::coco {

enum class IouType { kBox, kMask };

inline constexpr int kThresholds = 10;     ///< IoU 0.5, 0.55, ... 0.95
inline constexpr int kRecallPoints = 101;  ///< 0, 0.01, ... 1
inline constexpr int kAreas = 4;           ///< all, small (to 32^2), medium, large (from 96^2)
inline constexpr std::array<int, 3> kMaxDetections = {1, 10, 100};

/// The 12 figures in pycocotools' order, and their names in igq's JSON.
inline constexpr std::array<std::string_view, 12> kStatNames = {"AP",  "AP50", "AP75",  "APs", "APm", "APl",
                                                                "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

struct Evaluation {
  std::array<double, 12> stats{};          ///< -1 where there is nothing to average
  std::vector<double> category_precision;  ///< AP of every category of the data set; -1 without objects
  /// [threshold][recall point][category][area] at 100 detections; -1 without objects.
  std::vector<double> precision;
  /// [threshold][category][area][of kMaxDetections].
  std::vector<double> recall;
};

/// Scores the detections; boxes or masks must have been read. after(done) is called after each category.
Evaluation evaluate(const Dataset& dataset, const std::vector<Detection>& detections, IouType type,
                    const std::function<void(std::int64_t)>& after = {});

/// numpy's sum of doubles: pairwise, eight at a time below 128, so that means have its bits.
double numpy_sum(const double* values, std::size_t count);

}  // namespace igq::coco
