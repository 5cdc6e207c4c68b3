// More calibration inputs from the same images: mirrored and shifted copies, the augmentation image classifiers are
// trained with. Second-order weight rounding fits as many numbers per output as the layer has inputs, which the tokens
// of 32 images alone do not determine.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/aligned_buffer.h"
#include "models/config.h"

namespace igq {

inline constexpr int kMaxViews = 8;

/// View `view` (0 to kMaxViews - 1) of a normalised image [channels, height, width]: 0 is the image itself, odd ones
/// are mirrored, from 2 on shifted by a sixteenth of the sides, the border repeated.
void make_view(std::span<const float> image, int channels, int height, int width, int view, float* out);

/// The views of images one after the other: number i is view i % views of image i / views. Images are loaded again
/// rather than kept.
class ViewLoader {
 public:
  /// load(image, out) gives a normalised image.
  ViewLoader(const ModelConfig& config, int views, std::function<void(std::int64_t, float*)> load);
  /// [channels, height, width], valid until the next call; fast when called for i ascending.
  const float* view(std::int64_t i);

 private:
  int channels_, height_, width_, views_;
  std::function<void(std::int64_t, float*)> load_;
  std::int64_t loaded_ = -1;
  AlignedBuffer<float> image_, view_;
};

}  // namespace igq
