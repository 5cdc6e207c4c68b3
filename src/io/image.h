// Photographs from files: JPEG, PNG, WebP, TIFF, GIF and BMP, decoded to exactly the bytes of Pillow's
// Image.open(f).convert("RGB"), the reader behind timm, torchvision and transformers. Of several frames or pages the
// first counts; alpha is dropped, not blended; colour profiles are not applied. EXIF orientation is applied where it is
// asked for (io/orientation.h), as PIL.ImageOps.exif_transpose does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace igq {

/// Pillow refuses images above this many pixels (twice its warning limit); so does igq, before allocating them.
inline constexpr std::int64_t kMaxImagePixels = 178956970;
/// Longest side that is read: a longer one is 6,000 times the other or more, and no resize could keep its ratio.
inline constexpr std::int64_t kMaxImageSide = 1 << 20;

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  ///< [height, width, 3]

  const std::uint8_t* row(int y) const { return rgb.data() + static_cast<std::size_t>(y) * width * 3; }
  std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * width * 3; }
};

/// What to do with the orientation that a camera stores beside the pixels. timm and torchvision ignore it, the image
/// loading of transformers turns the picture upright. (A TIFF is always turned: Pillow does so when it opens one.)
enum class Orientation { kIgnore, kExif };

/// Decodes an image held in memory; `name` is what error texts call it. Error when it is none of the formats above,
/// damaged, truncated (never partially decoded) or larger than kMaxImagePixels, kMaxImageSide. Damage that Pillow reads
/// over is read over here too: stray bytes between segments and no end marker of a JPEG, whatever follows the last row
/// of a PNG.
Image decode_image(std::span<const std::byte> bytes, const std::string& name,
                   Orientation orientation = Orientation::kIgnore);

/// decode_image of a file.
Image load_image(const std::filesystem::path& path, Orientation orientation = Orientation::kIgnore);

/// Whether files of this extension (".jpg", any case) are taken for images in a folder; what they hold decides how they
/// are read.
bool is_image_extension(std::string_view extension);

namespace detail {
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name);  // jpeg.cc
Image decode_png(std::span<const std::byte> bytes, const std::string& name);   // png.cc
Image decode_webp(std::span<const std::byte> bytes, const std::string& name);  // webp.cc
Image decode_tiff(std::span<const std::byte> bytes, const std::string& name);  // tiff.cc
Image decode_gif(std::span<const std::byte> bytes, const std::string& name);   // gif.cc
Image decode_bmp(std::span<const std::byte> bytes, const std::string& name);   // bmp.cc
/// Error unless 0 < width, height <= kMaxImageSide and the product is at most kMaxImagePixels. Called before a decoder
/// allocates anything: the size alone tells.
void check_size(std::int64_t width, std::int64_t height, const std::string& name);
/// The black image of a size that check_size lets pass; Error when memory runs out.
Image allocate_image(std::int64_t width, std::int64_t height, const std::string& name);
/// `count` zero bytes for pixels that are not RGB yet; Error when memory runs out.
std::vector<std::uint8_t> allocate_bytes(std::size_t count, const std::string& name);
/// Pillow's CMYK to RGB: (255 - k) - round(c * (255 - k) / 255), clipped.
void cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb);
}  // namespace detail

}  // namespace igq
