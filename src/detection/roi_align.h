// RoIAlign (He et al. 2017) as in mmcv and torchvision: aligned = True, sampling_ratio = 0 (the number of samples per
// bin adapts to the box), average. Maps are channels-last, so that a sample is four rows of channels.
#pragma once

#include "detection/box.h"

namespace igq::detection {

/// A feature map [height, width, channels], padding included.
struct FeatureMap {
  const float* data = nullptr;
  int height = 0, width = 0, channels = 0;
};

/// The pyramid level a box is pooled from: floor(log2(sqrt(w * h) / finest_scale + 1e-6)) in 0..levels-1, float32 (FPN,
/// Lin et al. 2017, equation 1; mmdet's finest_scale is 56). Empty and NaN boxes have level 0.
int roi_level(const Box& roi, float finest_scale, int levels) noexcept;

/// Writes bins x bins x channels averages to `out` [bins, bins, channels]. `roi` is in pixels of the network's input,
/// scale = 1 / stride of the map. Empty boxes are legal; one with a coordinate that is not finite or beyond 2^20 cells
/// (never one clipped to the picture) gives zeros. Sums run over samples in row order: the same bits on every
/// instruction set.
void roi_align(const FeatureMap& map, float scale, const Box& roi, int bins, float* out) noexcept;

}  // namespace igq::detection
