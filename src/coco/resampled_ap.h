// How much COCO's AP would vary with other images of the same kind: the bootstrap (Efron 1979). The images are drawn
// again and again from those at hand, with replacement; the matches inside an image stay as they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coco/evaluate.h"
#include "coco/match.h"

namespace igq::coco {

class ResampledAp {
 public:
  /// Matches the detections once; arguments as those of evaluate().
  ResampledAp(const Dataset& dataset, const std::vector<Detection>& detections, IouType type);

  /// AP over all sizes when image i counts counts[i] times; -1 where no object is left. 0 to 1.
  double ap(std::span<const int> counts) const;
  /// Half the 95 % interval of AP: 1.96 standard deviations over `resamples` draws; 0 with fewer than 2 images.
  double interval_95(int resamples, std::uint64_t seed) const;

 private:
  struct Ranked {
    Outcome outcome;
    int image;
  };
  struct Category {
    std::vector<Ranked> ranked;                           // best first
    std::vector<std::pair<int, std::int64_t>> of_images;  // objects by image
  };
  std::size_t images_ = 0;
  std::vector<Category> categories_;
};

}  // namespace igq::coco
