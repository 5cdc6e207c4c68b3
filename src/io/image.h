// Photographs from files: JPEG and PNG, decoded to exactly the bytes of Pillow's Image.open(f).convert("RGB"), the
// reader behind timm and torchvision. Alpha is dropped, not blended; EXIF orientation and colour profiles are not
// applied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace igq {

/// Pillow refuses images above this many pixels (twice its warning limit); so does igq, before allocating them.
inline constexpr std::int64_t kMaxImagePixels = 178956970;

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  ///< [height, width, 3]

  const std::uint8_t* row(int y) const { return rgb.data() + static_cast<std::size_t>(y) * width * 3; }
  std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * width * 3; }
};

/// Decodes a JPEG or PNG held in memory; `name` is what error texts call it. Error when it is neither, damaged,
/// truncated (never partially decoded) or larger than kMaxImagePixels. JPEG damage that Pillow reads over (stray bytes
/// between segments, no end marker) is read over here too; a PNG must have its checksums right and its end chunk,
/// unlike there.
Image decode_image(std::span<const std::byte> bytes, const std::string& name);

/// decode_image of a file.
Image load_image(const std::filesystem::path& path);

namespace detail {
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name);  // jpeg.cc
Image decode_png(std::span<const std::byte> bytes, const std::string& name);   // png.cc
/// Error unless 0 < width, height and the product is at most kMaxImagePixels.
void check_size(std::int64_t width, std::int64_t height, const std::string& name);
/// The black image of a size that check_size lets pass; Error when memory runs out.
Image allocate_image(std::int64_t width, std::int64_t height, const std::string& name);
}  // namespace detail

}  // namespace igq
