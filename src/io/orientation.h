// EXIF orientation: how the camera was held, as a number from 1 (upright) to 8 in the metadata of a JPEG, PNG or WebP.
// Read where PIL.ImageOps.exif_transpose reads it: EXIF first, else tiff:Orientation of XMP. Metadata that is damaged
// or missing counts as 1.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "io/image.h"

namespace igq {

/// The stored orientation; 1 when there is none.
int jpeg_orientation(std::span<const std::byte> bytes);
int png_orientation(std::span<const std::byte> bytes);
int webp_orientation(std::span<const std::byte> bytes);

/// Turns and mirrors a picture stored with `orientation` so that it is upright; others than 2 to 8 change nothing.
Image turn_upright(Image image, int orientation, const std::string& name);

}  // namespace igq
