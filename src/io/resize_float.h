// Resizing in float without rounding to bytes, as torchvision does it for tensors (torch's _upsample_bilinear2d_aa): an
// antialiased separable triangle filter whose support grows with the reduction. For image processors that rescale
// before they resize (DINOv3's); equal to torch up to the order of its sums.
#pragma once

#include "base/aligned_buffer.h"
#include "io/image.h"

namespace igq {

/// `image` as width x height pixels, [3][height][width] from 0 to 255. Both sides at least 1.
AlignedBuffer<float> resize_float(const Image& image, int width, int height);

}  // namespace igq
