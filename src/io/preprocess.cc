// timm's evaluation transform with torchvision's rounding; see preprocess.h.
#include "io/preprocess.h"

#include "io/resize_float.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/fail.h"

namespace igq {
namespace {

constexpr double kMaxSide = std::numeric_limits<std::int32_t>::max() / 4;

struct Size {
  int height, width;
};

int checked_side(double side, const Image& image) {
  if (!(side >= 1.0 && side <= kMaxSide))
    fail("an image of {} x {} pixels is too elongated for this model's preprocessing (a side would become {:.0f})",
         image.width, image.height, side);
  return static_cast<int>(side);
}

/// torchvision's Resize with one number: the short side becomes `target`, the long side int(target * long / short).
Size keep_short_side(const Image& image, int target) {
  const bool upright = image.width <= image.height;
  const double short_side = upright ? image.width : image.height;
  const double long_side = upright ? image.height : image.width;
  const int resized_long = checked_side(std::floor(target * long_side / short_side), image);
  return upright ? Size{resized_long, target} : Size{target, resized_long};
}

/// timm's ResizeKeepRatio: both sides divided by the smaller (longest false) or larger ratio of image to target.
Size keep_ratio(const Image& image, Size target, bool longest) {
  const double ratio_h = static_cast<double>(image.height) / target.height;
  const double ratio_w = static_cast<double>(image.width) / target.width;
  const double ratio = longest ? std::max(ratio_h, ratio_w) : std::min(ratio_h, ratio_w);
  return {checked_side(std::nearbyint(image.height / ratio), image),
          checked_side(std::nearbyint(image.width / ratio), image)};
}

/// floor(input / crop_pct), timm's scale_size.
int scale_size(int input, double crop_pct) {
  const double size = std::floor(input / crop_pct);
  if (!(size >= 1.0 && size <= kMaxSide))
    fail("preprocessing: crop_pct {} is not usable for an input of {} pixels; it is a fraction like 0.9", crop_pct,
         input);
  return static_cast<int>(size);
}

/// Where the crop of one axis lies: `keep` pixels from `from` of the resized image go to `to` of the result.
struct Placement {
  int from, to, keep;
};

/// Centre crop, or padding where the image is smaller. torchvision: the offset rounds half to even and the odd padding
/// pixel goes last; transformers: the offset rounds down and the odd padding pixel goes first.
Placement place(int size, int target, bool transformers) {
  if (size < target) return {0, (target - size + (transformers ? 1 : 0)) / 2, size};
  const int slack = size - target;
  return {transformers ? slack / 2 : static_cast<int>(std::nearbyint(slack / 2.0)), 0, target};
}

constexpr std::array<std::string_view, 3> kCropModes = {"center", "squash", "border"};

}  // namespace

std::string_view crop_mode_name(CropMode mode) { return kCropModes[static_cast<std::size_t>(mode)]; }

CropMode parse_crop_mode(std::string_view name) {
  for (std::size_t i = 0; i < kCropModes.size(); ++i)
    if (kCropModes[i] == name) return static_cast<CropMode>(i);
  fail("crop mode '{}' is unknown; use one of center, squash, border", name);
}

std::string_view orientation_name(Orientation orientation) {
  return orientation == Orientation::kExif ? "exif" : "ignore";
}

Orientation parse_orientation(std::string_view name) {
  if (name == "exif") return Orientation::kExif;
  if (name == "ignore") return Orientation::kIgnore;
  fail("orientation '{}' is unknown; use exif (turn pictures upright) or ignore", name);
}

Image resize_and_crop(const Image& image, const PreprocessConfig& config, int height, int width) {
  assert(height > 0 && width > 0 && image.width > 0 && image.height > 0);
  const bool transformers = config.resize_short != 0 || config.resize_height != 0 || config.resize_width != 0;
  Size size{};
  std::array<std::uint8_t, 3> fill{};
  if (transformers) {
    const bool by_short = config.resize_short != 0;
    if (by_short ? config.resize_short < 0 : config.resize_height <= 0 || config.resize_width <= 0)
      fail("preprocessing: the resize size {} x {} (short side {}) is not usable; sizes are positive",
           config.resize_height, config.resize_width, config.resize_short);
    size = by_short ? keep_short_side(image, config.resize_short) : Size{config.resize_height, config.resize_width};
  } else {
    const Size scaled{scale_size(height, config.crop_pct), scale_size(width, config.crop_pct)};
    if (config.crop_mode == CropMode::kSquash) {
      size = scaled;
    } else if (config.crop_mode == CropMode::kBorder) {
      size = keep_ratio(image, scaled, true);
      for (std::size_t c = 0; c < 3; ++c)
        fill[c] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(255.0 * config.mean[c]), 0.0, 255.0));
    } else {
      size = scaled.height == scaled.width ? keep_short_side(image, scaled.height) : keep_ratio(image, scaled, false);
    }
  }
  const Placement rows = place(size.height, height, transformers), columns = place(size.width, width, transformers);
  const Window window{columns.from, rows.from, columns.keep, rows.keep};
  Image inside = resize_window(image, size.width, size.height, config.interpolation, window);
  if (inside.width == width && inside.height == height) return inside;

  Image out = detail::allocate_image(width, height, "preprocessed image");
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) std::copy_n(fill.data(), 3, out.row(y) + 3 * static_cast<std::size_t>(x));
  for (int y = 0; y < rows.keep; ++y)
    std::copy_n(inside.row(y), 3 * static_cast<std::size_t>(columns.keep),
                out.row(rows.to + y) + 3 * static_cast<std::size_t>(columns.to));
  return out;
}

void normalize(const Image& image, const PreprocessConfig& config, float* chw) {
  const std::size_t count = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  for (std::size_t c = 0; c < 3; ++c) {
    if (static_cast<float>(config.std[c]) == 0.0f)
      fail("preprocessing: std of channel {} is 0; the model's configuration is damaged", c);
    std::array<float, 256> table;
    const auto mean = static_cast<float>(config.mean[c]), deviation = static_cast<float>(config.std[c]);
    for (std::size_t v = 0; v < 256; ++v) table[v] = (static_cast<float>(v) / 255.0f - mean) / deviation;
    for (std::size_t i = 0; i < count; ++i) chw[c * count + i] = table[image.rgb[3 * i + c]];
  }
}

void preprocess(const Image& image, const PreprocessConfig& config, int height, int width, float* chw) {
  if (!config.float_resize) return normalize(resize_and_crop(image, config, height, width), config, chw);
  const AlignedBuffer<float> pixels = resize_float(image, width, height);
  const std::size_t count = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  for (std::size_t c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(config.mean[c]), deviation = static_cast<float>(config.std[c]);
    for (std::size_t i = 0; i < count; ++i) chw[c * count + i] = (pixels[c * count + i] / 255.0f - mean) / deviation;
  }
}

void preprocess_file(const std::filesystem::path& path, const PreprocessConfig& config, int height, int width,
                     float* chw) {
  const Image image = load_image(path, config.orientation);
  try {
    preprocess(image, config, height, width, chw);
  } catch (const Error& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

}  // namespace igq
