// Small PNG files in memory, for pictures inside other documents.
#pragma once

#include <string>

#include "io/image.h"

namespace igq {

/// The image as a PNG file of 8-bit RGB. Error when libpng cannot (no memory, more than 2^31 pixels a side).
std::string encode_png(const Image& image);

}  // namespace igq
