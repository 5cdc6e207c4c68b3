// Swin's tables of relative position bias for windows of another size than they were trained with.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"

namespace igq {

/// timm's resize_rel_pos_bias_table: `table` [(2 * old - 1)^2, heads] of a square window old x old ->
/// [(2 * window[0] - 1) * (2 * window[1] - 1), heads]. The old entries are put at geometrically growing distances
/// (dense near 0, where bias varies most) that span the new window, and interpolated linearly between.
AlignedBuffer<float> resize_relative_bias(std::span<const float> table, int heads, int old_window,
                                          std::array<int, 2> window);

}  // namespace igq
