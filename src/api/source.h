// From any ImageSource to the normalised values a model takes.
#pragma once

#include "igq/image.h"
#include "io/preprocess.h"

namespace igq {

/// Writes [3][height][width] normalised values. Error when the image cannot be read, its pixels are none, or normalised
/// values have another size than the model takes or are not finite.
void preprocess_source(const ImageSource& image, const PreprocessConfig& config, int height, int width, float* chw);

/// The picture. Error as preprocess_source, and for normalised values.
Image decode_source(const ImageSource& image, Orientation orientation);

}  // namespace igq
