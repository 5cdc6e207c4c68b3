#include "source.h"

#include <algorithm>
#include <cmath>

#include "base/fail.h"

namespace igq {
namespace {

Image copy_pixels(const ImageSource& source) {
  if (source.pixels == nullptr) fail("an image without pixels was given");
  detail::check_size(source.width, source.height, "the image");
  const std::ptrdiff_t row = std::ptrdiff_t{3} * source.width;
  const std::ptrdiff_t step = source.row_bytes == 0 ? row : source.row_bytes;
  if (step < row) fail("rows of {} pixels need {} bytes, not {}", source.width, row, step);
  Image image = detail::allocate_image(source.width, source.height, "the image");
  for (int y = 0; y < source.height; ++y) std::copy_n(source.pixels + y * step, row, image.row(y));
  return image;
}

void copy_values(std::span<const float> values, int height, int width, float* chw) {
  const std::size_t wanted = std::size_t{3} * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  if (values.size() != wanted)
    fail("an image of {} values was given, the model takes 3 x {} x {} = {}", values.size(), height, width, wanted);
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
    fail("an image was given that holds values which are not finite");
  std::copy(values.begin(), values.end(), chw);
}

}  // namespace

Image decode_source(const ImageSource& image, Orientation orientation) {
  switch (image.kind) {
    case ImageSource::Kind::kFile:
      return load_image(image.path, orientation);
    case ImageSource::Kind::kEncoded:
      return decode_image(image.encoded, "image", orientation);
    case ImageSource::Kind::kPixels:
      return copy_pixels(image);
    case ImageSource::Kind::kNormalized:
      break;
  }
  fail("an image of normalised values was given where a picture is needed");
}

void preprocess_source(const ImageSource& image, const PreprocessConfig& config, int height, int width, float* chw) {
  switch (image.kind) {
    case ImageSource::Kind::kFile:
      preprocess_file(image.path, config, height, width, chw);
      return;
    case ImageSource::Kind::kEncoded:
    case ImageSource::Kind::kPixels:
      preprocess(decode_source(image, config.orientation), config, height, width, chw);
      return;
    case ImageSource::Kind::kNormalized:
      copy_values(image.values, height, width, chw);
      return;
  }
}

}  // namespace igq
