#include "detection/anchors.h"

#include <cmath>

namespace igq::detection {

std::vector<Box> base_anchors(float base_size, std::span<const float> ratios, std::span<const float> scales) {
  std::vector<Box> anchors;
  anchors.reserve(ratios.size() * scales.size());
  for (const float ratio : ratios) {
    const float tall = std::sqrt(ratio), wide = 1.0f / tall;
    for (const float scale : scales) {
      const float w = base_size * wide * scale, h = base_size * tall * scale;
      anchors.push_back({-0.5f * w, -0.5f * h, 0.5f * w, 0.5f * h});
    }
  }
  return anchors;
}

}  // namespace igq::detection
