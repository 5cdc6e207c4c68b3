#include "models/relative_bias.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

namespace igq {
namespace {

/// Where the old offsets -(old - 1) ... old - 1 lie on the axis of the new ones: +-1, +-(1 + q), +-(1 + q + q^2) ...,
/// with the q in [1.01, 1.5] that takes the last one to the new border. Bisected as timm does it, so that q is timm's.
std::vector<double> spread_offsets(int old_window, int window) {
  const int steps = old_window - 1, border = window - 1;
  double low = 1.01, high = 1.5, q = 0.0;
  while (high - low > 1e-6) {
    q = (low + high) / 2.0;
    const double reach = (1.0 - std::pow(q, steps)) / (1.0 - q);
    (reach > border ? high : low) = q;
  }
  std::vector<double> offsets = {0.0};
  double at = 1.0;
  for (int i = 1; i <= steps; ++i) {
    offsets.push_back(at);
    offsets.insert(offsets.begin(), -at);
    at += std::pow(q, i);
  }
  return offsets;
}

/// Linear interpolation at one new offset: value = (1 - weight) * old[left] + weight * old[right].
struct Between {
  std::size_t left = 0, right = 0;
  double weight = 0.0;
};

std::vector<Between> interpolation(int old_window, int window) {
  const std::vector<double> offsets = spread_offsets(old_window, window);
  std::vector<Between> result;
  for (int offset = 1 - window; offset < window; ++offset) {
    const auto right = std::lower_bound(offsets.begin(), offsets.end(), static_cast<double>(offset));
    Between b;
    b.right = std::min(static_cast<std::size_t>(right - offsets.begin()), offsets.size() - 1);
    b.left = b.right == 0 ? 0 : b.right - 1;
    // Beyond the last old offset its value continues.
    if (b.left != b.right) b.weight = std::min((offset - offsets[b.left]) / (offsets[b.right] - offsets[b.left]), 1.0);
    result.push_back(b);
  }
  return result;
}

}  // namespace

AlignedBuffer<float> resize_relative_bias(std::span<const float> table, int heads, int old_window,
                                          std::array<int, 2> window) {
  const auto old_side = static_cast<std::size_t>(2 * old_window - 1), h = static_cast<std::size_t>(heads);
  assert(table.size() == old_side * old_side * h);
  const std::vector<Between> rows = interpolation(old_window, window[0]), cols = interpolation(old_window, window[1]);
  AlignedBuffer<float> result(rows.size() * cols.size() * h);
  float* out = result.data();
  for (const Between& y : rows) {
    for (const Between& x : cols) {
      for (std::size_t head = 0; head < h; ++head) {
        const auto old = [&](std::size_t row, std::size_t col) {
          return static_cast<double>(table[(row * old_side + col) * h + head]);
        };
        const double top = (1.0 - x.weight) * old(y.left, x.left) + x.weight * old(y.left, x.right);
        const double bottom = (1.0 - x.weight) * old(y.right, x.left) + x.weight * old(y.right, x.right);
        *out++ = static_cast<float>((1.0 - y.weight) * top + y.weight * bottom);
      }
    }
  }
  return result;
}

}  // namespace igq
