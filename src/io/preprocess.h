// From a photograph to the network's input: timm's evaluation transform (timm.data.transforms_factory
// .transforms_imagenet_eval, without the prefetcher) and the resize-then-crop of transformers' image processors, bit
// for bit.
#pragma once

#include <array>
#include <filesystem>
#include <string_view>

#include "io/image.h"
#include "io/resize.h"

namespace igq {

/// timm's crop_mode. center: short side to input / crop_pct, aspect kept, centre cropped. squash: both sides to input /
/// crop_pct, aspect lost. border: long side to input / crop_pct, the rest filled with the mean colour.
enum class CropMode { kCenter, kSquash, kBorder };

/// "center", "squash", "border". parse throws Error for another name.
std::string_view crop_mode_name(CropMode mode);
CropMode parse_crop_mode(std::string_view name);

struct PreprocessConfig {
  Interpolation interpolation = Interpolation::kBicubic;
  double crop_pct = 0.875;  ///< double as in Python: 224 / 0.8f is not 280
  CropMode crop_mode = CropMode::kCenter;
  /// Of pixels in [0, 1]. In double as in Python: the border of kBorder is rounded from it.
  std::array<double, 3> mean = {0.485, 0.456, 0.406};
  std::array<double, 3> std = {0.229, 0.224, 0.225};
  /// transformers' image processors: resize to {height, width}, or the short side to "shortest_edge" with the aspect
  /// kept; then a centre crop to the input size, whose offset rounds down there. All 0: timm's rule from crop_pct.
  int resize_height = 0, resize_width = 0;
  int resize_short = 0;
  /// Resized in float, bilinear, to resize_height x resize_width, which is the input size (io/resize_float.h):
  /// DINOv3's.
  bool float_resize = false;
  Orientation orientation = Orientation::kIgnore;  ///< as the source of the model loads pictures: timm kIgnore
};

/// "ignore", "exif". parse throws Error for another name.
std::string_view orientation_name(Orientation orientation);
Orientation parse_orientation(std::string_view name);

/// The 8-bit image of height x width that the network sees. Error for a crop_pct or resize size that makes no sense and
/// for an image so elongated that a side would vanish or pass 2^31 pixels.
Image resize_and_crop(const Image& image, const PreprocessConfig& config, int height, int width);

/// ToTensor and Normalize in float32: chw[c][y][x] = (rgb / 255 - mean[c]) / std[c]; 3 * height * width values.
void normalize(const Image& image, const PreprocessConfig& config, float* chw);

/// A decoded picture as the network's input: resize_and_crop and normalize, or all of it in float.
void preprocess(const Image& image, const PreprocessConfig& config, int height, int width, float* chw);

/// load_image and preprocess; errors name the file.
void preprocess_file(const std::filesystem::path& path, const PreprocessConfig& config, int height, int width,
                     float* chw);

}  // namespace igq
