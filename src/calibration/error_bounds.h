// Bounds of igq groups that minimise the expected squared error of what is quantized with them, instead of the distance to
// the channels' minima and maxima that the paper minimises (method.md section 3).
#pragma once

#include <cstdint>
#include <vector>

#include "quant/plan.h"

namespace igq {

/// Expected squared error per value of a channel with range `channel` under `bounds`: a twelfth of the squared step for
/// rounding, and kClippingShare of the squared excess at either end for clipping.
double expected_error(Bounds channel, Bounds bounds, int bits);

/// What a normally distributed channel of 65 to 200 tokens loses to clipping, over the squared excess of its largest value
/// beyond the bound, E[(x - u)^2; x > u] / (max - u)^2: 0.01 to 0.04 for bounds of 0.6 to 0.8 of the maximum.
inline constexpr double kClippingShare = 0.02;

/// `groups` pairs of bounds, ascending by width, for points assigned to the nearest pair as assign_channels() does.
std::vector<Bounds> least_error_bounds(const std::vector<Bounds>& points, int groups, int bits, std::uint64_t seed);

/// Scales of `scale` groups that are integer multiples of one unit.
struct IntegerRatios {
  std::vector<std::int32_t> multiples;  ///< ascending, 1 to kMaxMultiple
  float unit = 1.0f;
};

/// True when at least eight multiples m fit m * (2^bits - 1) <= 255: codes times m are bytes then.
bool ratios_fit_byte(int bits);

/// All multiples whose products with codes fit in a byte, so that all groups are one ordinary byte product (method.md section
/// 8); only where ratios_fit_byte(bits). The unit has the least expected error over `widths` of channels, each rounded up to a
/// multiple or clipped by the largest.
IntegerRatios byte_ratios(const std::vector<float>& widths, int bits);

/// `groups` multiples up to kMaxMultiple: the scales that cluster_widths() gives for channels with ranges `points`, rounded up.
/// The unit is the one that rounds up least among those with which int32 holds the sums of `channels` such channels with weight
/// codes of up to `weight_rms` root mean square in an output, with some room; Linear checks each image and takes 64 bits where
/// that fails.
IntegerRatios group_ratios(const std::vector<Bounds>& points, int groups, int bits, int channels, double weight_rms);

}  // namespace igq
