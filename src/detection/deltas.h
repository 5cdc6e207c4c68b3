// Boxes relative to other boxes (Girshick et al. 2014, appendix C; mmdet's DeltaXYWHBBoxCoder): with centre p and size
// s of the reference, target = (p + s * d_xy, s * exp(d_wh)).
#pragma once

#include <array>

#include "detection/box.h"

namespace igq::detection {

struct DeltaCoder {
  std::array<float, 4> means = {0.0f, 0.0f, 0.0f, 0.0f};
  std::array<float, 4> stds = {1.0f, 1.0f, 1.0f, 1.0f};
  /// Bound of |d_wh| after the stds; mmdet's |ln(16 / 1000)|: boxes grow or shrink at most 62.5 times.
  float max_log_ratio = 4.135166556742356f;
};

/// The box that `delta` (dx, dy, dw, dh as the network gives them) makes of `reference`, clipped to
/// [0, image_width] x [0, image_height]. Float32 in mmdet's order of operations; exp is that of double rounded to
/// float, the same on every instruction set. A NaN delta gives NaN coordinates.
Box decode_delta(const DeltaCoder& coder, const Box& reference, const float* delta, float image_width,
                 float image_height) noexcept;

/// The inverse without clipping: the delta that makes `target` of `reference`. Both need positive sides.
std::array<float, 4> encode_delta(const DeltaCoder& coder, const Box& reference, const Box& target) noexcept;

}  // namespace igq::detection
