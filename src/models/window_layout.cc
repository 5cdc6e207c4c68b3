#include "models/window_layout.h"

#include <cassert>

namespace igq {
namespace {

/// Window and shift along one axis of a map.
struct Axis {
  int size, window, shift, padded;
};

Axis make_axis(int size, int window, int shift) { return {size, window, shift, (size + window - 1) / window * window}; }

/// Token at a position of the padded, rolled axis; -1 for padding.
int source(const Axis& a, int position, bool pad_before_shift) {
  if (pad_before_shift) position = (position + a.shift) % a.padded;
  if (position >= a.size) return -1;
  return pad_before_shift ? position : (position + a.shift) % a.size;
}

}  // namespace

WindowLayout lay_out_windows(const WindowShape& shape, int height, int width) {
  const Axis y = make_axis(height, shape.window[0], shape.shift[0]),
             x = make_axis(width, shape.window[1], shape.shift[1]);
  const int rows = y.padded / y.window, columns = x.padded / x.window, area = shape.area();
  WindowLayout layout;
  layout.height = height;
  layout.width = width;
  layout.windows = rows * columns;
  layout.token_of_row.reserve(static_cast<std::size_t>(layout.windows) * static_cast<std::size_t>(area));
  for (int wy = 0; wy < rows; ++wy)
    for (int wx = 0; wx < columns; ++wx) {
      for (int i = 0; i < area; ++i) {
        const int sy = source(y, wy * y.window + i / x.window, shape.pad_before_shift);
        const int sx = source(x, wx * x.window + i % x.window, shape.pad_before_shift);
        layout.token_of_row.push_back(sy >= 0 && sx >= 0 ? sy * x.size + sx : -1);
      }
      // Only the last window of a shifted axis holds tokens from both ends of the map.
      const int split_y = y.shift > 0 && wy == rows - 1 ? 1 : 0, split_x = x.shift > 0 && wx == columns - 1 ? 1 : 0;
      layout.pattern.push_back(split_y * (x.shift > 0 ? 2 : 1) + split_x);
    }
  layout.row_of_token.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  for (std::size_t row = 0; row < layout.token_of_row.size(); ++row)
    if (layout.token_of_row[row] >= 0)
      layout.row_of_token[static_cast<std::size_t>(layout.token_of_row[row])] = static_cast<std::int32_t>(row);
  return layout;
}

AlignedBuffer<float> window_bias(const WindowShape& shape, std::span<const float> table, int heads) {
  const int wh = shape.window[0], ww = shape.window[1], area = shape.area();
  const auto n = static_cast<std::size_t>(area), h = static_cast<std::size_t>(heads);
  assert(table.size() == static_cast<std::size_t>((2 * wh - 1) * (2 * ww - 1)) * h);
  AlignedBuffer<float> bias(static_cast<std::size_t>(shape.patterns()) * h * n * n);
  const int patterns_x = shape.shift[1] > 0 ? 2 : 1;
  float* out = bias.data();
  for (int pattern = 0; pattern < shape.patterns(); ++pattern) {
    const bool split_y = pattern / patterns_x != 0, split_x = pattern % patterns_x != 0;
    const auto region = [&](int i) {
      const bool beyond_y = split_y && i / ww >= wh - shape.shift[0],
                 beyond_x = split_x && i % ww >= ww - shape.shift[1];
      return (beyond_y ? 2 : 0) + (beyond_x ? 1 : 0);
    };
    for (std::size_t head = 0; head < h; ++head)
      for (int i = 0; i < area; ++i)
        for (int j = 0; j < area; ++j) {
          const int dy = i / ww - j / ww + wh - 1, dx = i % ww - j % ww + ww - 1;
          const auto row = static_cast<std::size_t>(dy * (2 * ww - 1) + dx);
          *out++ = table[row * h + head] + (region(i) != region(j) ? -100.0f : 0.0f);
        }
  }
  return bias;
}

}  // namespace igq
