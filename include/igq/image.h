// An image as the library takes it: a file, an encoded file in memory, pixels, or values that are already normalised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

namespace igq {

/// A view: whoever makes it keeps what it points at alive until the call that it is given to returns. Nothing is
/// copied.
struct ImageSource {
  enum class Kind { kFile, kEncoded, kPixels, kNormalized };

  Kind kind = Kind::kFile;
  std::filesystem::path path;            ///< kFile
  std::span<const std::byte> encoded;    ///< kEncoded: the bytes of an image file
  const std::uint8_t* pixels = nullptr;  ///< kPixels: RGB, [height][row_bytes], three bytes a pixel
  int height = 0, width = 0;
  std::ptrdiff_t row_bytes = 0;
  std::span<const float> values;  ///< kNormalized: [3][height][width] as the model takes them

  /// An image file in any of the formats that `igq predict` reads.
  static ImageSource file(std::filesystem::path path) {
    ImageSource image;
    image.path = std::move(path);
    return image;
  }
  /// The bytes of such a file.
  static ImageSource from_bytes(std::span<const std::byte> bytes) {
    ImageSource image;
    image.kind = Kind::kEncoded;
    image.encoded = bytes;
    return image;
  }
  /// 8-bit RGB pixels, row by row; `row_bytes` from one row to the next, 0: 3 * width.
  static ImageSource from_pixels(const std::uint8_t* rgb, int height, int width, std::ptrdiff_t row_bytes = 0) {
    ImageSource image;
    image.kind = Kind::kPixels;
    image.pixels = rgb;
    image.height = height;
    image.width = width;
    image.row_bytes = row_bytes;
    return image;
  }
  /// Values [3][height][width] of the size the model takes, resized and normalised already.
  static ImageSource from_values(std::span<const float> chw) {
    ImageSource image;
    image.kind = Kind::kNormalized;
    image.values = chw;
    return image;
  }
};

}  // namespace igq
