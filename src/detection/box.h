// A rectangle in pixels, as detectors compute with it: float32 corners, no "+1" anywhere (an empty box has x1 == x2).
#pragma once

namespace igq::detection {

struct Box {
  float x1 = 0.0f, y1 = 0.0f, x2 = 0.0f, y2 = 0.0f;

  float width() const { return x2 - x1; }
  float height() const { return y2 - y1; }
  bool operator==(const Box&) const = default;
};

}  // namespace igq::detection
