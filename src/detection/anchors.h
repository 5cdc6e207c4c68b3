// Anchors of a region proposal network (mmdet's AnchorGenerator, center_offset 0): boxes of fixed sizes and aspects at
// every cell of a feature map, centred on the cell's corner (x * stride, y * stride).
#pragma once

#include <span>
#include <vector>

#include "detection/box.h"

namespace igq::detection {

/// The anchors of the cell (0, 0), ratios outer, scales inner: for ratio r = height / width and scale s, in float32,
/// width = base_size * (1 / sqrt(r)) * s and height = base_size * sqrt(r) * s. mmdet's base size is the level's stride.
std::vector<Box> base_anchors(float base_size, std::span<const float> ratios, std::span<const float> scales);

/// The anchor `base` of the cell (x, y).
inline Box anchor_at(const Box& base, float stride_x, float stride_y, int x, int y) {
  const float dx = static_cast<float>(x) * stride_x, dy = static_cast<float>(y) * stride_y;
  return {base.x1 + dx, base.y1 + dy, base.x2 + dx, base.y2 + dy};
}

/// Anchor number `index` of a map `width` cells wide, counted (y, x, anchor) as score maps are flattened.
inline Box anchor_at(std::span<const Box> base, float stride_x, float stride_y, int width, long index) {
  const long count = static_cast<long>(base.size()), cell = index / count;
  return anchor_at(base[static_cast<std::size_t>(index % count)], stride_x, stride_y, static_cast<int>(cell % width),
                   static_cast<int>(cell / width));
}

}  // namespace igq::detection
