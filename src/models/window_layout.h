// How Swin cuts a map of tokens into windows: padding to whole windows, the roll of shifted blocks, and which of a
// window's tokens may attend to each other (Swin paper, section 3.2; timm's and mmdetection's orders of pad and roll).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"

namespace igq {

/// The windows of a stage's blocks, the same for maps of every size: [height, width].
struct WindowShape {
  std::array<int, 2> window = {7, 7};
  std::array<int, 2> shift = {0, 0};  ///< 0: not shifted along this axis
  bool pad_before_shift = false;      ///< transformers and mmdetection pad, then roll; timm rolls, then pads

  int area() const { return window[0] * window[1]; }
  /// Kinds of windows by what may attend to what: along a shifted axis the last window holds two regions.
  int patterns() const { return (shift[0] > 0 ? 2 : 1) * (shift[1] > 0 ? 2 : 1); }
};

/// The windows of a map of one size.
struct WindowLayout {
  int height = 0, width = 0;  ///< of the map, in tokens
  int windows = 0;
  std::vector<std::int32_t> token_of_row;  ///< [windows * area] -> token, -1 for padding; roll included
  std::vector<std::int32_t> row_of_token;  ///< its inverse
  std::vector<std::int32_t> pattern;       ///< [windows]
};

WindowLayout lay_out_windows(const WindowShape& shape, int height, int width);

/// [patterns][heads][area][area]: relative position bias from `table` [(2 wh - 1) * (2 ww - 1), heads], and -100 where
/// two tokens of a window lie in different regions of the map.
AlignedBuffer<float> window_bias(const WindowShape& shape, std::span<const float> table, int heads);

}  // namespace igq
