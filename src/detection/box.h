// A rectangle in pixels, as detectors compute with it: float32 corners, no "+1" anywhere (an empty box has x1 == x2).
#pragma once

#include <array>

namespace igq::detection {

struct Box {
  float x1 = 0.0f, y1 = 0.0f, x2 = 0.0f, y2 = 0.0f;

  float width() const { return x2 - x1; }
  float height() const { return y2 - y1; }
  bool operator==(const Box&) const = default;
};

/// x, y, width, height as mmdetection computes them: differences of float32 corners in double.
inline std::array<double, 4> xywh(const Box& box) {
  const double x = box.x1, y = box.y1;
  return {x, y, box.x2 - x, box.y2 - y};
}

}  // namespace igq::detection
