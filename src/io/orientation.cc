// The EXIF tag 0x0112 and its XMP twin; see orientation.h. Every offset is checked: metadata comes from anywhere.
#include "io/orientation.h"

#include <zlib.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace igq {
namespace {

using Bytes = std::string_view;

Bytes text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// An unsigned number of `size` bytes at `at`, 0 beyond the end.
std::uint64_t number(Bytes data, std::uint64_t at, int size, bool big_endian) {
  if (at > data.size() || data.size() - at < static_cast<std::size_t>(size)) return 0;
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(data[at + static_cast<std::size_t>(big_endian ? i : size - 1 - i)]);
    value = value << 8 | byte;
  }
  return value;
}

/// Orientation in the first directory of an EXIF record (a TIFF in small).
std::optional<int> exif_orientation(Bytes exif) {
  constexpr std::string_view kHead("Exif\0\0", 6);
  for (int i = 0; i < 2 && exif.starts_with(kHead); ++i) exif.remove_prefix(kHead.size());
  const bool big = exif.starts_with("MM");
  if (!big && !exif.starts_with("II")) return {};
  const std::uint64_t directory = number(exif, 4, 4, big), entries = number(exif, directory, 2, big);
  std::optional<int> found;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t at = directory + 2 + 12 * i;
    if (at + 12 > exif.size()) break;
    if (number(exif, at, 2, big) != 0x0112 || number(exif, at + 4, 4, big) != 1) continue;
    const std::uint64_t type = number(exif, at + 2, 2, big);
    const int size = type == 1 || type == 6 ? 1 : type == 3 || type == 8 ? 2 : type == 4 || type == 9 ? 4 : 0;
    if (size != 0) found = static_cast<int>(number(exif, at + 8, size, big) & 0x7FFFFFFF);
  }
  return found;
}

/// tiff:Orientation="6" or <tiff:Orientation>6.
int xmp_orientation(Bytes xmp) {
  constexpr std::string_view kTag = "tiff:Orientation";
  for (std::size_t at = xmp.find(kTag); at != Bytes::npos; at = xmp.find(kTag, at + 1)) {
    Bytes rest = xmp.substr(at + kTag.size());
    if (rest.starts_with("=\""))
      rest.remove_prefix(2);
    else if (rest.starts_with(">"))
      rest.remove_prefix(1);
    else
      continue;
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 1;
}

int orientation_of(const std::string& exif, const std::string& xmp) {
  if (const std::optional<int> stored = exif_orientation(exif)) return *stored;
  return xmp_orientation(xmp);
}

/// The text of a compressed PNG chunk, as far as it is reasonable metadata.
std::string inflate_text(Bytes data) {
  constexpr uLong kMost = 1 << 20;
  std::string text(kMost, '\0');
  uLongf size = kMost;
  if (uncompress(reinterpret_cast<Bytef*>(text.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
                 static_cast<uLong>(data.size())) != Z_OK)
    return {};
  text.resize(size);
  return text;
}

/// ImageMagick's way to store EXIF in a PNG without an eXIf chunk: a heading, a name, a length, then hex digits.
std::string raw_profile(Bytes text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == Bytes::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) continue;
    if (high >= 0) bytes += static_cast<char>(high << 4 | digit);
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

/// The text of a tEXt, zTXt or iTXt chunk with this key, empty for another.
std::string text_of_png(Bytes kind, Bytes chunk, Bytes key) {
  if (!chunk.starts_with(key) || chunk.size() <= key.size() || chunk[key.size()] != '\0') return {};
  chunk.remove_prefix(key.size() + 1);
  if (kind == "tEXt") return std::string(chunk);
  if (kind == "zTXt") return chunk.empty() ? std::string() : inflate_text(chunk.substr(1));
  if (chunk.size() < 2) return {};
  const bool compressed = chunk[0] != '\0';
  chunk.remove_prefix(2);
  for (int i = 0; i < 2; ++i) {  // language and translated key
    const std::size_t end = chunk.find('\0');
    if (end == Bytes::npos) return {};
    chunk.remove_prefix(end + 1);
  }
  return compressed ? inflate_text(chunk) : std::string(chunk);
}

}  // namespace

int jpeg_orientation(std::span<const std::byte> bytes) {
  const Bytes data = text_of(bytes);
  std::string exif, xmp;
  std::uint64_t at = 2;
  while (at + 4 <= data.size()) {
    if (data[at] != '\xFF') {
      ++at;
      continue;
    }
    const auto marker = static_cast<unsigned char>(data[at + 1]);
    if (marker == 0xFF) {
      ++at;
      continue;
    }
    at += 2;
    if (marker == 0xDA || marker == 0xD9) break;
    if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    const std::uint64_t length = number(data, at, 2, true);
    if (length < 2 || length > data.size() - at) break;
    const Bytes segment = data.substr(at + 2, length - 2);
    constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
    if (marker == 0xE1 && segment.starts_with(kExif)) exif += exif.empty() ? segment : segment.substr(kExif.size());
    if (marker == 0xE1 && segment.starts_with(kXmp)) xmp = segment.substr(kXmp.size());
    at += length;
  }
  return orientation_of(exif, xmp);
}

int png_orientation(std::span<const std::byte> bytes) {
  const Bytes data = text_of(bytes);
  std::string exif, raw, xmp;
  for (std::uint64_t at = 8; at + 12 <= data.size();) {
    const std::uint64_t length = number(data, at, 4, true);
    const Bytes kind = data.substr(at + 4, 4);
    if (length > data.size() - at - 12) break;
    const Bytes chunk = data.substr(at + 8, length);
    if (kind == "IEND") break;
    if (kind == "eXIf") exif = chunk;
    if (kind == "tEXt" || kind == "zTXt" || kind == "iTXt") {
      if (std::string text = text_of_png(kind, chunk, "Raw profile type exif"); !text.empty()) raw = std::move(text);
      if (std::string text = text_of_png(kind, chunk, "XML:com.adobe.xmp"); !text.empty()) xmp = std::move(text);
    }
    at += length + 12;
  }
  return orientation_of(exif.empty() ? raw_profile(raw) : exif, xmp);
}

int webp_orientation(std::span<const std::byte> bytes) {
  const Bytes data = text_of(bytes);
  std::string exif, xmp;
  for (std::uint64_t at = 12; at + 8 <= data.size();) {
    const std::uint64_t length = number(data, at + 4, 4, false);
    const Bytes kind = data.substr(at, 4);
    if (length > data.size() - at - 8) break;
    if (kind == "EXIF" && exif.empty()) exif = data.substr(at + 8, length);
    if (kind == "XMP " && xmp.empty()) xmp = data.substr(at + 8, length);
    at += 8 + length + length % 2;
  }
  return orientation_of(exif, xmp);
}

Image turn_upright(Image image, int orientation, const std::string& name) {
  if (orientation < 2 || orientation > 8) return image;
  const bool swapped = orientation >= 5;  // rows become columns
  // Whether the stored picture is read from its right edge, and from its bottom.
  constexpr std::array<bool, 9> kRight = {false, false, true, true, false, false, false, true, true};
  constexpr std::array<bool, 9> kBottom = {false, false, false, true, true, false, true, true, false};
  const auto o = static_cast<std::size_t>(orientation);
  Image out = detail::allocate_image(swapped ? image.height : image.width, swapped ? image.width : image.height, name);
  for (int y = 0; y < out.height; ++y) {
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x, to += 3) {
      const int column = swapped ? y : x, row = swapped ? x : y;
      const std::uint8_t* from = image.row(kBottom[o] ? image.height - 1 - row : row) +
                                 3 * static_cast<std::size_t>(kRight[o] ? image.width - 1 - column : column);
      to[0] = from[0];
      to[1] = from[1];
      to[2] = from[2];
    }
  }
  return out;
}

}  // namespace igq
