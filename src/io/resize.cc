// Pillow's resampling, written from its definition. For output pixel i of n from m input pixels, with scale = m / n:
//   centre = (i + 0.5) * scale, support = filter support * max(scale, 1),
//   weights = filter((j - centre + 0.5) / max(scale, 1)) for the pixels j within the support, normalised to sum 1,
// rounded to multiples of 2^-22 (half away from zero); sums round half up and are clipped to [0, 255].
#include "io/resize.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

#include "base/fail.h"

namespace igq {
namespace {

constexpr int kPrecision = 22;
constexpr std::int32_t kHalf = 1 << (kPrecision - 1);
constexpr std::int64_t kMaxWeights = std::int64_t{1} << 26;  // 256 MB; a side of 50,000 pixels needs 1 % of it

struct NamedInterpolation {
  Interpolation value;
  std::string_view name;
};
constexpr std::array kNames = {
    NamedInterpolation{Interpolation::kNearest, "nearest"}, NamedInterpolation{Interpolation::kBilinear, "bilinear"},
    NamedInterpolation{Interpolation::kBicubic, "bicubic"}, NamedInterpolation{Interpolation::kLanczos, "lanczos"},
    NamedInterpolation{Interpolation::kBox, "box"},         NamedInterpolation{Interpolation::kHamming, "hamming"}};

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double filter_support(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBox:
      return 0.5;
    case Interpolation::kBicubic:
      return 2.0;
    case Interpolation::kLanczos:
      return 3.0;
    default:
      return 1.0;
  }
}

double filter_value(Interpolation interpolation, double x) {
  constexpr double a = -0.5;  // Keys' parameter; OpenCV and PyTorch tensors use -0.75
  switch (interpolation) {
    case Interpolation::kBox:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Interpolation::kBicubic:
      x = std::abs(x);
      if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
      if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
      return 0.0;
    case Interpolation::kLanczos:
      return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
    case Interpolation::kHamming:
      x = std::abs(x);
      if (x == 0.0) return 1.0;
      if (x >= 1.0) return 0.0;
      x *= std::numbers::pi;
      return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
    default:
      x = std::abs(x);
      return x < 1.0 ? 1.0 - x : 0.0;
  }
}

/// One axis: output i is the sum of count[i] inputs from first[i] on, weighted by weights[i * taps ...].
struct Axis {
  int taps = 0;
  std::vector<int> first, count;
  std::vector<std::int32_t> weights;
};

/// Outputs [begin, begin + length) of an axis of `in` pixels resized to `out`.
Axis make_axis(int in, int out, int begin, int length, Interpolation interpolation) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter_support(interpolation) * filter_scale;
  const double inverse = 1.0 / filter_scale;
  Axis axis;
  axis.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  if (static_cast<std::int64_t>(length) * axis.taps > kMaxWeights)
    fail("a side of {} pixels is too long to be reduced to {}; make the image smaller", in, out);
  axis.first.resize(static_cast<std::size_t>(length));
  axis.count.resize(static_cast<std::size_t>(length));
  axis.weights.assign(static_cast<std::size_t>(length) * axis.taps, 0);
  std::vector<double> values(static_cast<std::size_t>(axis.taps));
  for (int i = 0; i < length; ++i) {
    const double center = (begin + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in) - first;
    assert(count <= axis.taps);
    double sum = 0.0;
    for (int j = 0; j < count; ++j) {
      values[j] = filter_value(interpolation, (j + first - center + 0.5) * inverse);
      sum += values[j];
    }
    std::int32_t* weights = axis.weights.data() + static_cast<std::size_t>(i) * axis.taps;
    for (int j = 0; j < count; ++j) {
      const double fixed = (sum != 0.0 ? values[j] / sum : values[j]) * (1 << kPrecision);
      weights[j] = static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    axis.first[i] = first;
    axis.count[i] = count;
  }
  return axis;
}

std::uint8_t clip(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kPrecision, 0, 255)); }

Image make_image(int width, int height) { return detail::allocate_image(width, height, "resized image"); }

/// Rows [top, top + height) of `image`, each resized by `axis`; the image begins at column `offset` of the axis.
Image resize_rows(const Image& image, int offset, int top, int height, const Axis& axis) {
  const int width = static_cast<int>(axis.first.size());
  Image out = make_image(width, height);
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* in = image.row(top + y);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < width; ++x) {
      const std::uint8_t* from = in + 3 * static_cast<std::size_t>(axis.first[x] - offset);
      const std::int32_t* weights = axis.weights.data() + static_cast<std::size_t>(x) * axis.taps;
      std::int32_t r = kHalf, g = kHalf, b = kHalf;
      for (int j = 0; j < axis.count[x]; ++j, from += 3) {
        r += from[0] * weights[j];
        g += from[1] * weights[j];
        b += from[2] * weights[j];
      }
      to[3 * x] = clip(r);
      to[3 * x + 1] = clip(g);
      to[3 * x + 2] = clip(b);
    }
  }
  return out;
}

/// Columns [left, left + width) of `image`, each resized by `axis`; the image begins at row `offset` of the axis.
Image resize_columns(const Image& image, int offset, int left, int width, const Axis& axis) {
  const int height = static_cast<int>(axis.first.size());
  Image out = make_image(width, height);
  const std::size_t values = 3 * static_cast<std::size_t>(width);
  std::vector<std::int32_t> sums(values);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int j = 0; j < axis.count[y]; ++j) {
      const std::uint8_t* in = image.row(axis.first[y] - offset + j) + 3 * static_cast<std::size_t>(left);
      const std::int32_t weight = axis.weights[static_cast<std::size_t>(y) * axis.taps + j];
      for (std::size_t i = 0; i < values; ++i) sums[i] += in[i] * weight;
    }
    std::uint8_t* to = out.row(y);
    for (std::size_t i = 0; i < values; ++i) to[i] = clip(sums[i]);
  }
  return out;
}

/// The inputs [begin, end) that an axis reads.
std::pair<int, int> input_range(const Axis& axis) {
  int end = 0;
  for (std::size_t i = 0; i < axis.first.size(); ++i) end = std::max(end, axis.first[i] + axis.count[i]);
  return {axis.first.front(), end};
}

/// The order of the passes decides the rounding between them. Pillow 13 begins with the vertical pass when that removes
/// more than twice as many rows as there are columns to remove; older versions always begin with the horizontal one.
bool vertical_first(const Image& image, int width, int height) {
  return std::int64_t{image.height} - height > std::max<std::int64_t>(0, 2 * (std::int64_t{image.width} - width));
}

/// Input index of outputs [begin, begin + length): the running sum of Pillow's affine transform, rounding included.
std::vector<int> nearest_indices(int in, int out, int begin, int length) {
  const double scale = static_cast<double>(in) / out;
  double position = scale * 0.5;
  for (int i = 0; i < begin; ++i) position += scale;
  std::vector<int> indices(static_cast<std::size_t>(length));
  for (int& index : indices) {
    index = static_cast<int>(position);
    position += scale;
  }
  return indices;
}

Image resize_nearest(const Image& image, int width, int height, Window window) {
  const std::vector<int> columns = nearest_indices(image.width, width, window.left, window.width);
  const std::vector<int> rows = nearest_indices(image.height, height, window.top, window.height);
  Image out = make_image(window.width, window.height);
  for (int y = 0; y < window.height; ++y)
    for (int x = 0; x < window.width; ++x) {
      if (rows[y] >= image.height || columns[x] >= image.width) continue;  // the sum ran past the end: black, as there
      std::copy_n(image.row(rows[y]) + 3 * static_cast<std::size_t>(columns[x]), 3,
                  out.row(y) + 3 * static_cast<std::size_t>(x));
    }
  return out;
}

}  // namespace

std::string_view interpolation_name(Interpolation interpolation) {
  for (const NamedInterpolation& known : kNames)
    if (known.value == interpolation) return known.name;
  assert(false);
  return "";
}

Interpolation parse_interpolation(std::string_view name) {
  std::string all;
  for (const NamedInterpolation& known : kNames) {
    if (known.name == name) return known.value;
    all += all.empty() ? "" : ", ";
    all += known.name;
  }
  fail("interpolation '{}' is unknown; use one of {}", name, all);
}

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  return resize_window(image, width, height, interpolation, {0, 0, width, height});
}

Image shrunk(const Image& image, int longest) {
  const int longer = std::max(image.width, image.height);
  if (longer <= longest) return image;
  return resize(image, std::max(1, image.width * longest / longer), std::max(1, image.height * longest / longer),
                Interpolation::kBicubic);
}

Image resize_window(const Image& image, int width, int height, Interpolation interpolation, Window window) {
  assert(image.width > 0 && image.height > 0 && window.left >= 0 && window.top >= 0 && window.width > 0 &&
         window.height > 0);
  assert(window.width <= width - window.left && window.height <= height - window.top);
  const bool same_width = image.width == width, same_height = image.height == height;
  if (interpolation == Interpolation::kNearest) return resize_nearest(image, width, height, window);
  if (same_width && same_height) {
    Image out = make_image(window.width, window.height);
    for (int y = 0; y < window.height; ++y)
      std::copy_n(image.row(window.top + y) + 3 * static_cast<std::size_t>(window.left),
                  3 * static_cast<std::size_t>(window.width), out.row(y));
    return out;
  }
  const Axis horizontal = make_axis(image.width, width, window.left, window.width, interpolation);
  if (same_height) return resize_rows(image, 0, window.top, window.height, horizontal);
  const Axis vertical = make_axis(image.height, height, window.top, window.height, interpolation);
  if (same_width) return resize_columns(image, 0, window.left, window.width, vertical);
  // The first pass makes only the rows or columns that the second will read.
  if (vertical_first(image, width, height)) {
    const auto [begin, end] = input_range(horizontal);
    return resize_rows(resize_columns(image, 0, begin, end - begin, vertical), begin, 0, window.height, horizontal);
  }
  const auto [begin, end] = input_range(vertical);
  return resize_columns(resize_rows(image, 0, begin, end - begin, horizontal), begin, 0, window.width, vertical);
}

}  // namespace igq
