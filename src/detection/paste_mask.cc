#include "detection/paste_mask.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace igq::detection {
namespace {

/// The pixels of one axis that the box may touch, and where each lies on the network's square.
class PastedAxis {
 public:
  /// mmdet visits one pixel more than the box on each side; an empty box is set in those if the square's middle is.
  PastedAxis(float low, float high, int size, int side) : side_(side) {
    if (std::isnan(low) || std::isnan(high)) return;
    begin_ = static_cast<int>(std::clamp(std::floor(static_cast<double>(low)) - 1.0, 0.0, static_cast<double>(size)));
    end_ = static_cast<int>(std::clamp(std::ceil(static_cast<double>(high)) + 1.0, 0.0, static_cast<double>(size)));
    const float half = static_cast<float>(side) / 2.0f;
    for (int p = begin_; p < end_; ++p) {
      float g = (static_cast<float>(p) + 0.5f - low) / (high - low) * 2.0f - 1.0f;
      if (std::isinf(g)) g = 0.0f;
      const float position = (g + 1.0f) * half - 0.5f;
      const float cell = std::floor(position);
      // Also false for NaN; a position this far out sees zeros only.
      const bool near = cell >= -1.0f && cell < static_cast<float>(side);
      cells_.push_back(near ? static_cast<int>(cell) : -2);
      fractions_.push_back(near ? position - cell : 0.0f);
    }
  }
  int begin() const { return begin_; }
  int end() const { return end_; }
  int cell(int p) const { return cells_[static_cast<std::size_t>(p - begin_)]; }
  float fraction(int p) const { return fractions_[static_cast<std::size_t>(p - begin_)]; }
  bool inside(int c) const { return c >= 0 && c < side_; }
  int side() const { return side_; }

 private:
  int side_, begin_ = 0, end_ = 0;
  std::vector<int> cells_;
  std::vector<float> fractions_;
};

/// Calls visit(x, y) for every set pixel, down the columns.
template <typename Visit>
void visit_set_pixels(const float* probabilities, const PastedAxis& xs, const PastedAxis& ys, float threshold,
                      Visit&& visit) {
  assert(threshold > 0.0f);
  for (int x = xs.begin(); x < xs.end(); ++x) {
    const int cx = xs.cell(x);
    if (cx < -1) continue;
    const float right = xs.fraction(x), left = 1.0f - right;
    for (int y = ys.begin(); y < ys.end(); ++y) {
      const int cy = ys.cell(y);
      if (cy < -1) continue;
      const float bottom = ys.fraction(y), top = 1.0f - bottom;
      const auto at = [&](int row, int column) {
        return ys.inside(row) && xs.inside(column) ? probabilities[row * xs.side() + column] : 0.0f;
      };
      const float value = at(cy, cx) * (top * left) + at(cy, cx + 1) * (top * right) +
                          at(cy + 1, cx) * (bottom * left) + at(cy + 1, cx + 1) * (bottom * right);
      if (value >= threshold) visit(x, y);
    }
  }
}

}  // namespace

std::vector<std::uint8_t> paste_mask(const float* probabilities, int side, const Box& box, int height, int width,
                                     float threshold) {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(height) * static_cast<std::size_t>(width), 0);
  const PastedAxis xs(box.x1, box.x2, width, side), ys(box.y1, box.y2, height, side);
  visit_set_pixels(probabilities, xs, ys, threshold,
                   [&](int x, int y) { mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + x] = 1; });
  return mask;
}

Rle paste_mask_rle(const float* probabilities, int side, const Box& box, int height, int width, float threshold) {
  Rle rle{height, width, {}};
  const PastedAxis xs(box.x1, box.x2, width, side), ys(box.y1, box.y2, height, side);
  std::uint32_t end = 0;  // of the last run of ones
  visit_set_pixels(probabilities, xs, ys, threshold, [&](int x, int y) {
    const std::uint32_t position = static_cast<std::uint32_t>(x) * static_cast<std::uint32_t>(height) + y;
    if (rle.counts.empty() || position != end) {
      rle.counts.push_back(position - end);
      rle.counts.push_back(0);
    }
    ++rle.counts.back();
    end = position + 1;
  });
  const std::uint32_t pixels = static_cast<std::uint32_t>(height) * static_cast<std::uint32_t>(width);
  if (end < pixels || rle.counts.empty()) rle.counts.push_back(pixels - end);
  return rle;
}

}  // namespace igq::detection
