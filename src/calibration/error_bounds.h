// Bounds of igq groups that minimise the expected squared error of what is quantized with them, instead of the distance
// to the channels' minima and maxima that the paper minimises (docs/method.md, section 3).
#pragma once

#include <cstdint>
#include <vector>

#include "quant/plan.h"

namespace igq {

/// Expected squared error per value of a channel with range `channel` under `bounds`: a twelfth of the squared step for
/// rounding, and kClippingShare of the squared excess at either end for clipping.
double expected_error(Bounds channel, Bounds bounds, int bits);

/// What a normally distributed channel of 65 to 200 tokens loses to clipping, over the squared excess of its largest
/// value beyond the bound, E[(x - u)^2; x > u] / (max - u)^2: 0.01 to 0.04 for bounds of 0.6 to 0.8 of the maximum.
inline constexpr double kClippingShare = 0.02;

/// `groups` pairs of bounds, ascending by width, for points assigned to the nearest pair as assign_channels() does.
std::vector<Bounds> least_error_bounds(const std::vector<Bounds>& points, int groups, int bits, std::uint64_t seed);

}  // namespace igq
