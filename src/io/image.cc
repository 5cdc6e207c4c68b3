// Which decoder reads a file, told from its first bytes (never from its name: ImageNet has a PNG named .JPEG).
#include "io/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <string_view>

#include "base/fail.h"
#include "base/file.h"
#include "io/orientation.h"

namespace igq {
namespace {

bool starts_with(std::span<const std::byte> bytes, std::string_view prefix, std::size_t offset = 0) {
  if (bytes.size() < offset + prefix.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                    [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
}

constexpr std::string_view kReadable = "JPEG, PNG, WebP, TIFF, GIF and BMP";

/// What a file that igq does not read looks like, to make the error helpful.
std::string_view foreign_format(std::span<const std::byte> bytes) {
  if (starts_with(bytes, "ftypavif", 4)) return "an AVIF image; convert it or remove it";
  if (starts_with(bytes, "ftyp", 4)) return "a HEIF image or a film; convert it or remove it";
  if (starts_with(bytes, "\x89P") || starts_with(bytes, "\xFF\xD8")) return "a damaged image; fetch it again";
  if (starts_with(bytes, std::string_view("\0\0\0\x0CjP", 6)) || starts_with(bytes, "\xFF\x4F\xFF\x51"))
    return "a JPEG 2000 image; convert it or remove it";
  if (starts_with(bytes, std::string_view("\0\0\0\x0CJXL", 7)) || starts_with(bytes, "\xFF\x0A"))
    return "a JPEG XL image; convert it or remove it";
  if (starts_with(bytes, "8BPS")) return "a Photoshop file; convert it or remove it";
  if (starts_with(bytes, "%PDF")) return "a PDF; convert it or remove it";
  if (starts_with(bytes, std::string_view("\0\0\x01\0", 4))) return "an icon; convert it or remove it";
  if (starts_with(bytes, "\x01\xDA")) return "an SGI image; convert it or remove it";
  if (starts_with(bytes, "P") && bytes.size() > 2 && bytes[1] >= std::byte{'1'} && bytes[1] <= std::byte{'7'})
    return "a PPM, PGM or PBM image; convert it or remove it";
  if (starts_with(bytes, "version https://git-lfs"))
    return "a pointer of git-lfs; run `git lfs pull` in its repository";
  if (starts_with(bytes, "<svg") || starts_with(bytes, "<?xml")) return "an SVG or XML; convert it or remove it";
  if (starts_with(bytes, "<")) return "a web page; fetch it again";
  return "no image; convert it or remove it";
}

}  // namespace

void detail::check_size(std::int64_t width, std::int64_t height, const std::string& name) {
  if (width <= 0 || height <= 0) fail("{}: an image of {} x {} pixels has no content", name, width, height);
  if (width > kMaxImagePixels / height)
    fail("{}: {} x {} pixels are more than the limit of {}; make the image smaller", name, width, height,
         kMaxImagePixels);
  if (std::max(width, height) > kMaxImageSide)
    fail("{}: an image of {} x {} pixels is too elongated: no side may be above {}", name, width, height,
         kMaxImageSide);
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

std::vector<std::uint8_t> detail::allocate_bytes(std::size_t count, const std::string& name) {
  try {
    return std::vector<std::uint8_t>(count);
  } catch (const std::bad_alloc&) {
    fail("{}: out of memory for {} bytes of pixels", name, count);
  }
}

void detail::cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb) {
  const int light = 255 - cmyk[3];
  for (int c = 0; c < 3; ++c) {
    const int product = cmyk[c] * light + 128;
    rgb[c] = static_cast<std::uint8_t>(std::clamp(light - (((product >> 8) + product) >> 8), 0, 255));
  }
}

bool is_image_extension(std::string_view extension) {
  std::string lower(extension);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 10> kExtensions = {".jpg", ".jpeg", ".jfif", ".png", ".webp",
                                                            ".tif", ".tiff", ".gif",  ".bmp", ".jpe"};
  return std::find(kExtensions.begin(), kExtensions.end(), lower) != kExtensions.end();
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name, Orientation orientation) {
  if (bytes.empty()) fail("{}: the file is empty, not an image", name);
  const auto turned = [&](Image image, int stored) {
    return orientation == Orientation::kExif ? turn_upright(std::move(image), stored, name) : image;
  };
  if (starts_with(bytes, "\xFF\xD8\xFF")) return turned(detail::decode_jpeg(bytes, name), jpeg_orientation(bytes));
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) return turned(detail::decode_png(bytes, name), png_orientation(bytes));
  if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8))
    return turned(detail::decode_webp(bytes, name), webp_orientation(bytes));
  for (const std::string_view magic : {std::string_view("II*\0", 4), std::string_view("MM\0*", 4),
                                       std::string_view("II+\0", 4), std::string_view("MM\0+", 4)})
    if (starts_with(bytes, magic)) return detail::decode_tiff(bytes, name);
  if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) return detail::decode_gif(bytes, name);
  if (starts_with(bytes, "BM")) return detail::decode_bmp(bytes, name);
  fail("{}: not an image that igq reads ({}): it looks like {}", name, kReadable, foreign_format(bytes));
}

Image load_image(const std::filesystem::path& path, Orientation orientation) {
  const std::string bytes = read_file(path);
  return decode_image(std::as_bytes(std::span(bytes)), path.string(), orientation);
}

}  // namespace igq
