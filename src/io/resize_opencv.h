// Preprocessing of mmdetection: cv2.resize with INTER_LINEAR on 8-bit pixels, bit for bit (OpenCV 4.x and 5.0), the
// size that keeps the aspect, and pixels normalised and padded. Unlike Pillow's resize (io/resize.h) there is no
// antialiasing.
#pragma once

#include <array>
#include <string_view>

#include "io/image.h"

namespace igq {

struct ImageSize {
  int height = 0, width = 0;

  bool operator==(const ImageSize&) const = default;
};

/// mmcv's rescale_size: the largest size of the same aspect whose longer side is at most the larger of the two limits
/// and whose shorter side at most the smaller one, int(side * factor + 0.5). Smaller images grow. Error when a side
/// would vanish or the image pass kMaxImagePixels; `name` is what the text calls the image.
ImageSize keep_ratio_size(ImageSize image, int limit_a, int limit_b, std::string_view name);

/// `image` resized to width x height (both at least 1). Exactly half on both axes is the mean of 2 x 2 pixels, as in
/// OpenCV; otherwise linear in 11-bit fixed point along rows, then along columns.
Image resize_opencv(const Image& image, int width, int height);

/// (pixel - mean[c]) / std[c] in float32 with zeros right of and below the image: chw [3, height, width], which must
/// not be smaller than the image. mean and std are in the pixels' units, 0 to 255.
void normalize_padded(const Image& image, const std::array<float, 3>& mean, const std::array<float, 3>& std, int height,
                      int width, float* chw);

/// `value` rounded up to a multiple of `divisor` (at least 1).
inline int padded_to(int value, int divisor) { return (value + divisor - 1) / divisor * divisor; }

}  // namespace igq
