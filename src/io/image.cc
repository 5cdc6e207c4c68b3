// Which decoder reads a file, told from its first bytes (never from its name: ImageNet has a PNG named .JPEG).
#include "io/image.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "base/fail.h"
#include "base/file.h"

namespace igq {
namespace {

bool starts_with(std::span<const std::byte> bytes, std::string_view prefix, std::size_t offset = 0) {
  if (bytes.size() < offset + prefix.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                    [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
}

/// What a file that igq does not read looks like, to make the error helpful.
std::string_view foreign_format(std::span<const std::byte> bytes) {
  if (starts_with(bytes, "GIF8")) return "a GIF";
  if (starts_with(bytes, "BM")) return "a BMP";
  if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) return "a WebP";
  if (starts_with(bytes, "II*") || starts_with(bytes, "MM")) return "a TIFF";
  if (starts_with(bytes, "ftyp", 4)) return "a HEIF or AVIF";
  if (starts_with(bytes, "\x89P") || starts_with(bytes, "\xFF\xD8")) return "a damaged image";
  return "no image";
}

}  // namespace

void detail::check_size(std::int64_t width, std::int64_t height, const std::string& name) {
  if (width <= 0 || height <= 0) fail("{}: an image of {} x {} pixels has no content", name, width, height);
  if (width > kMaxImagePixels / height)
    fail("{}: {} x {} pixels are more than the limit of {}; make the image smaller", name, width, height,
         kMaxImagePixels);
}

Image detail::allocate_image(std::int64_t width, std::int64_t height, const std::string& name) {
  check_size(width, height, name);
  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  try {
    image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  } catch (const std::bad_alloc&) {
    fail("{}: out of memory for {} x {} pixels", name, width, height);
  }
  return image;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) fail("{}: the file is empty, not a JPEG or PNG image", name);
  if (starts_with(bytes, "\xFF\xD8\xFF")) return detail::decode_jpeg(bytes, name);
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) return detail::decode_png(bytes, name);
  fail("{}: not a JPEG or PNG image (it looks like {}); convert it or remove it", name, foreign_format(bytes));
}

Image load_image(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  return decode_image(std::as_bytes(std::span(bytes)), path.string());
}

}  // namespace igq
