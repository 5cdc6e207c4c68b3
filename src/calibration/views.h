// More calibration inputs from the same images: mirrored and shifted copies, the augmentation image classifiers are trained
// with. Second-order weight rounding fits as many numbers per output as the layer has inputs, which the tokens of 32
// images alone do not determine.
#pragma once

#include <span>

namespace igq {

inline constexpr int kMaxViews = 8;

/// View `view` (0 to kMaxViews - 1) of a normalised image [channels, height, width]: 0 is the image itself, odd ones are
/// mirrored, from 2 on shifted by a sixteenth of the sides, the border repeated.
void make_view(std::span<const float> image, int channels, int height, int width, int view, float* out);

}  // namespace igq
