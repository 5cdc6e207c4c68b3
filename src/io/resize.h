// Pillow's Image.resize for 8-bit RGB, equal to it bit for bit: an antialiased separable filter whose support grows
// with the reduction, coefficients in 22-bit fixed point, 8-bit values between the two passes. The order of the passes
// is that of Pillow 13: horizontal first as in every version, except for tall images whose height shrinks far more than
// their width (more than 2:1 at a reduction that keeps the aspect); there older versions differ by a level or two.
#pragma once

#include <string>
#include <string_view>

#include "io/image.h"

namespace igq {

enum class Interpolation { kNearest, kBilinear, kBicubic, kLanczos, kBox, kHamming };

/// "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming": timm's names.
std::string_view interpolation_name(Interpolation interpolation);
/// The inverse. Error for another name (the text lists the known ones).
Interpolation parse_interpolation(std::string_view name);

/// A part of an image, in pixels.
struct Window {
  int left, top, width, height;
};

/// `image` resized to width x height (both at least 1). The same size gives a copy, as in Pillow.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

/// Bicubic, so that no side is longer than `longest`; as it is where it fits.
Image shrunk(const Image& image, int longest);

/// The part `window` of resize(image, width, height), without computing the rest. The window lies inside.
Image resize_window(const Image& image, int width, int height, Interpolation interpolation, Window window);

}  // namespace igq
