// A detection's mask in the picture: the network's square of probabilities stretched over the box, bilinear, zeros
// outside, and cut at a threshold (mmdet's _do_paste_mask, grid_sample with align_corners False).
#pragma once

#include <cstdint>
#include <vector>

#include "detection/box.h"
#include "detection/rle.h"

namespace igq::detection {

/// The mask [height, width] (0 or 1, row-major) of `probabilities` [side, side] in a picture; `box` in its pixels. A
/// pixel is set where the value is at least `threshold`, which must be above 0.
std::vector<std::uint8_t> paste_mask(const float* probabilities, int side, const Box& box, int height, int width,
                                     float threshold = 0.5f);

/// The same as run lengths, without the whole picture in between.
Rle paste_mask_rle(const float* probabilities, int side, const Box& box, int height, int width, float threshold = 0.5f);

}  // namespace igq::detection
