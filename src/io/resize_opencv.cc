#include "io/resize_opencv.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "base/fail.h"

namespace igq {
namespace {

constexpr float kOne = 2048.0f;  // weights have 11 bits

/// The two source pixels of a destination pixel and their weights in 1 / 2048.
struct Tap {
  int first, second;
  int weight_first, weight_second;
};

/// Half-even, the processor's default.
int round_weight(float v) { return static_cast<int>(std::lrintf(v)); }

/// `clamp_position`: at the borders the position moves into the image (columns of pixels); otherwise only the pixels
/// read do and the fraction stays (rows).
std::vector<Tap> taps(int source, int destination, bool clamp_position) {
  const double scale = 1.0 / (static_cast<double>(destination) / source);
  std::vector<Tap> result(static_cast<std::size_t>(destination));
  for (int d = 0; d < destination; ++d) {
    float fraction = static_cast<float>((d + 0.5) * scale - 0.5);
    int s = static_cast<int>(std::floor(fraction));
    fraction -= static_cast<float>(s);
    if (clamp_position && s < 0) {
      s = 0;
      fraction = 0.0f;
    }
    if (clamp_position && s >= source - 1) {
      s = source - 1;
      fraction = 0.0f;
    }
    result[static_cast<std::size_t>(d)] = {std::clamp(s, 0, source - 1), std::clamp(s + 1, 0, source - 1),
                                           round_weight((1.0f - fraction) * kOne), round_weight(fraction * kOne)};
  }
  return result;
}

void halve(const Image& image, Image& half) {
  for (int y = 0; y < half.height; ++y) {
    const std::uint8_t *a = image.row(2 * y), *b = image.row(2 * y + 1);
    std::uint8_t* out = half.row(y);
    for (int x = 0; x < half.width; ++x)
      for (int c = 0; c < 3; ++c)
        out[3 * x + c] =
            static_cast<std::uint8_t>((a[6 * x + c] + a[6 * x + 3 + c] + b[6 * x + c] + b[6 * x + 3 + c] + 2) >> 2);
  }
}

void resize_row(const std::uint8_t* row, const std::vector<Tap>& columns, int* out) {
  for (const Tap& tap : columns) {
    const std::uint8_t *a = row + 3 * std::ptrdiff_t{tap.first}, *b = row + 3 * std::ptrdiff_t{tap.second};
    for (int c = 0; c < 3; ++c) *out++ = a[c] * tap.weight_first + b[c] * tap.weight_second;
  }
}

}  // namespace

ImageSize keep_ratio_size(ImageSize image, int limit_a, int limit_b, std::string_view name) {
  assert(image.height > 0 && image.width > 0);
  if (limit_a < 1 || limit_b < 1) fail("{}: cannot be resized to limits of {} and {} pixels", name, limit_a, limit_b);
  const double longer = std::max(image.height, image.width), shorter = std::min(image.height, image.width);
  const double factor = std::min(std::max(limit_a, limit_b) / longer, std::min(limit_a, limit_b) / shorter);
  const double height = std::floor(image.height * factor + 0.5), width = std::floor(image.width * factor + 0.5);
  if (height < 1 || width < 1)
    fail("{}: {} x {} pixels are too elongated: resized to limits of {} and {} a side would have no pixel", name,
         image.width, image.height, limit_a, limit_b);
  if (height * width > static_cast<double>(kMaxImagePixels))
    fail("{}: resized to {:.0f} x {:.0f} pixels it passes the limit of {}", name, width, height, kMaxImagePixels);
  return {static_cast<int>(height), static_cast<int>(width)};
}

Image resize_opencv(const Image& image, int width, int height) {
  assert(width > 0 && height > 0 && image.width > 0 && image.height > 0);
  if (width == image.width && height == image.height) return image;
  Image result = detail::allocate_image(width, height, "a resized image");
  if (image.width == 2 * static_cast<std::int64_t>(width) && image.height == 2 * static_cast<std::int64_t>(height)) {
    halve(image, result);
    return result;
  }
  const std::vector<Tap> columns = taps(image.width, width, true), rows = taps(image.height, height, false);
  const std::size_t row_values = static_cast<std::size_t>(width) * 3;
  std::vector<int> upper(row_values), lower(row_values);  // rows already resized
  int upper_row = -1, lower_row = -1;
  for (int y = 0; y < height; ++y) {
    const Tap& tap = rows[static_cast<std::size_t>(y)];
    if (upper_row != tap.first && lower_row == tap.first) {
      std::swap(upper, lower);
      std::swap(upper_row, lower_row);
    }
    if (upper_row != tap.first) resize_row(image.row(tap.first), columns, upper.data());
    upper_row = tap.first;
    if (lower_row != tap.second) resize_row(image.row(tap.second), columns, lower.data());
    lower_row = tap.second;
    std::uint8_t* out = result.row(y);
    for (std::size_t i = 0; i < row_values; ++i)
      out[i] = static_cast<std::uint8_t>(
          (((tap.weight_first * (upper[i] >> 4)) >> 16) + ((tap.weight_second * (lower[i] >> 4)) >> 16) + 2) >> 2);
  }
  return result;
}

void normalize_padded(const Image& image, const std::array<float, 3>& mean, const std::array<float, 3>& std, int height,
                      int width, float* chw) {
  assert(height >= image.height && width >= image.width);
  const std::size_t plane = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  std::fill(chw, chw + 3 * plane, 0.0f);
  for (std::size_t c = 0; c < 3; ++c) {
    std::array<float, 256> table;
    for (std::size_t v = 0; v < 256; ++v) table[v] = (static_cast<float>(v) - mean[c]) / std[c];
    for (int y = 0; y < image.height; ++y) {
      const std::uint8_t* row = image.row(y);
      float* out = chw + c * plane + static_cast<std::size_t>(y) * static_cast<std::size_t>(width);
      for (int x = 0; x < image.width; ++x) out[x] = table[row[3 * x + static_cast<int>(c)]];
    }
  }
}

}  // namespace igq
