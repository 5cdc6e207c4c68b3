// Scales of `scale` groups that are integer multiples of one unit, so that a layer of any number of groups is one byte
// product (docs/method.md, section 8.2).
//
// Codes of b bits times multiples up to slot_multiple(b) = floor(255 / (2^b - 1)) are bytes. A channel with a larger
// multiple, a multiple of that, is counted in several slots of the product. So a finer unit costs slots for the widest
// channels of each image, and the unit is the one of least error whose slots stay within extra_slot_budget().
#pragma once

#include <cstdint>
#include <vector>

#include "quant/plan.h"

namespace igq {

struct IntegerRatios {
  std::vector<std::int32_t> multiples;  ///< ascending; see fits_slots()
  float unit = 1.0f;
};

/// True when at least eight multiples fit a byte: then all of them are used, whatever number of groups is asked for.
bool ratios_fit_byte(int bits);

/// Slots beyond one for each channel that calibration images may need, nearly all of them: what completes the channels
/// and a sixteenth of them to whole steps of kSlotStep. A property of the method, not of a machine: every instruction
/// set makes the same plan.
int extra_slot_budget(int channels);

/// Multiples and unit for `widths` of ranges, of all `channels` of a number of images (or a sample of them); each width
/// is rounded up to a group's. `groups` multiples, or all that occur where ratios_fit_byte(). No width is clipped.
IntegerRatios slot_ratios(const std::vector<float>& widths, int groups, int bits, int channels);

/// A multiple for widths up to half as large again as those of `last`, or `last` where slots do not allow it.
std::int32_t spare_multiple(std::int32_t last, int bits, int channels);

}  // namespace igq
