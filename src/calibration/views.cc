#include "calibration/views.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace igq {

void make_view(std::span<const float> image, int channels, int height, int width, int view, float* out) {
  assert(view >= 0 && view < kMaxViews);
  struct Shift {
    int y, x;
  };
  constexpr std::array<Shift, kMaxViews> kShifts{{{0, 0}, {0, 0}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}, {1, 0}, {-1, 0}}};
  const Shift shift = kShifts[static_cast<std::size_t>(view)];
  const int dy = shift.y * (height / 16), dx = shift.x * (width / 16);
  for (int c = 0; c < channels; ++c)
    for (int y = 0; y < height; ++y) {
      const float* row = image.data() + (static_cast<std::size_t>(c) * static_cast<std::size_t>(height) +
                                         static_cast<std::size_t>(std::clamp(y + dy, 0, height - 1))) *
                                            static_cast<std::size_t>(width);
      for (int x = 0; x < width; ++x) {
        const int from = std::clamp(x + dx, 0, width - 1);
        *out++ = row[view % 2 == 1 ? width - 1 - from : from];
      }
    }
}

ViewLoader::ViewLoader(const ModelConfig& config, int views, std::function<void(std::int64_t, float*)> load)
    : channels_(config.in_channels),
      height_(config.image_height),
      width_(config.image_width),
      views_(views),
      load_(std::move(load)),
      image_(static_cast<std::size_t>(channels_) * static_cast<std::size_t>(height_) *
             static_cast<std::size_t>(width_)),
      view_(image_.size()) {}

const float* ViewLoader::view(std::int64_t i) {
  const std::int64_t image = i / views_;
  if (image != loaded_) load_(image, image_.data());
  loaded_ = image;
  make_view(image_, channels_, height_, width_, static_cast<int>(i % views_), view_.data());
  return view_.data();
}

}  // namespace igq
