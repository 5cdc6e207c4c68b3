// Windows bitmaps, by hand: headers of 12 to 124 bytes, 1, 4, 8, 16, 24 and 32 bits, palettes, bit fields and run
// lengths, with the conversions of Pillow's BmpImagePlugin (alpha dropped; which bit fields are known is its list too).
#include <algorithm>
#include <array>
#include <cstring>

#include "base/fail.h"
#include "io/image.h"

namespace igq {
namespace {

constexpr std::uint32_t kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3;

struct Header {
  std::int64_t width = 0, height = 0;
  std::uint32_t bits = 0, compression = kRaw, colors = 0;
  bool top_down = false;
  std::size_t palette_at = 0, palette_step = 4, pixels_at = 0;
  std::array<std::uint32_t, 4> masks{};  ///< red, green, blue, alpha
};

class BmpBytes {
 public:
  BmpBytes(std::span<const std::byte> data, const std::string& name) : data_(data), name_(name) {}
  std::uint32_t number(std::size_t at, std::size_t size) const {
    need(at, size);
    std::uint32_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | std::to_integer<std::uint32_t>(data_[at + i]);
    return value;
  }
  const std::uint8_t* at(std::size_t from, std::size_t size) const {
    need(from, size);
    return reinterpret_cast<const std::uint8_t*>(data_.data()) + from;
  }
  std::size_t size() const { return data_.size(); }
  [[noreturn]] void truncated() const {
    fail("{}: truncated BMP image: the file ends before the picture does; fetch it again", name_);
  }

 private:
  void need(std::size_t at, std::size_t size) const {
    if (at > data_.size() || data_.size() - at < size) truncated();
  }
  std::span<const std::byte> data_;
  const std::string& name_;
};

Header read_header(const BmpBytes& in, const std::string& name) {
  constexpr std::array<std::uint32_t, 7> kSizes = {12, 40, 52, 56, 64, 108, 124};
  Header h;
  const std::uint32_t size = in.number(14, 4);
  if (std::find(kSizes.begin(), kSizes.end(), size) == kSizes.end())
    fail("{}: a BMP with a header of {} bytes is not supported; convert it to PNG", name, size);
  in.number(14 + size - 4, 4);
  std::size_t after = 14 + size;
  if (size == 12) {
    h.width = in.number(18, 2);
    h.height = in.number(20, 2);
    h.bits = in.number(24, 2);
    h.palette_step = 3;
  } else {
    h.width = in.number(18, 4);
    const std::uint32_t height = in.number(22, 4);
    h.top_down = height >> 24 == 0xFF;
    h.height = h.top_down ? (std::int64_t{1} << 32) - height : height;
    h.bits = in.number(28, 2);
    h.compression = in.number(30, 4);
    h.colors = in.number(46, 4);
    if (h.compression == kBitFields) {
      const std::size_t masks = size >= 56 ? 4 : 3;  // headers of 40 bytes have three masks behind them
      for (std::size_t i = 0; i < masks; ++i) h.masks[i] = in.number(54 + 4 * i, 4);
      if (size < 52) after += 12;
    }
  }
  if (h.bits > 32) fail("{}: a BMP of {} bits a pixel is not supported; convert it to PNG", name, h.bits);
  if (h.colors == 0 && h.bits < 32) h.colors = std::uint32_t{1} << h.bits;
  h.palette_at = after;
  h.pixels_at = in.number(10, 4);
  if (h.bits <= 8 && h.pixels_at == 14 + size) h.pixels_at += h.palette_step * h.colors;
  if (h.pixels_at == 0) h.pixels_at = after + (h.bits <= 8 ? h.palette_step * h.colors : 0);
  return h;
}

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;

/// Colours missing in the file are black.
Palette read_palette(const BmpBytes& in, const Header& h, const std::string& name) {
  if (h.colors == 0 || h.colors > 65536) fail("{}: damaged BMP image: a palette of {} colours", name, h.colors);
  Palette palette{};
  for (std::size_t i = 0; i < std::min<std::size_t>(h.colors, 256); ++i) {
    const std::size_t from = h.palette_at + i * h.palette_step;
    if (from + 3 > in.size()) break;
    const std::uint8_t* bgr = in.at(from, 3);
    palette[i] = {bgr[2], bgr[1], bgr[0]};
  }
  // A ramp of grays is no palette in Pillow: pixels are gray values, also beyond its end.
  const std::size_t known = std::min<std::size_t>(h.colors, 256);
  bool ramp = h.bits == 8 && h.colors > 2;
  for (std::size_t i = 0; i < known; ++i)
    ramp = ramp && palette[i] == std::array<std::uint8_t, 3>{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i),
                                                             static_cast<std::uint8_t>(i)};
  for (std::size_t i = known; ramp && i < 256; ++i) palette[i].fill(static_cast<std::uint8_t>(i));
  return palette;
}

/// Where red, green and blue lie in a pixel of 3 or 4 bytes; Error for fields that Pillow does not know either.
std::array<std::size_t, 3> byte_places(const Header& h, const std::string& name) {
  if (h.compression == kRaw) return {2, 1, 0};
  struct Known {
    std::array<std::uint32_t, 4> masks;
    std::array<std::size_t, 3> places;
  };
  constexpr std::array<Known, 8> k32{{{{0xFF0000, 0xFF00, 0xFF, 0}, {2, 1, 0}},
                                      {{0xFF000000, 0xFF0000, 0xFF00, 0}, {3, 2, 1}},
                                      {{0xFF000000, 0xFF00, 0xFF, 0}, {3, 1, 0}},
                                      {{0xFF000000, 0xFF0000, 0xFF00, 0xFF}, {3, 2, 1}},
                                      {{0xFF, 0xFF00, 0xFF0000, 0xFF000000}, {0, 1, 2}},
                                      {{0xFF0000, 0xFF00, 0xFF, 0xFF000000}, {2, 1, 0}},
                                      {{0xFF000000, 0xFF00, 0xFF, 0xFF0000}, {3, 1, 0}},
                                      {{0, 0, 0, 0}, {2, 1, 0}}}};
  const std::array<std::uint32_t, 3> rgb = {h.masks[0], h.masks[1], h.masks[2]};
  if (h.bits == 24 && rgb == std::array<std::uint32_t, 3>{0xFF0000, 0xFF00, 0xFF}) return {2, 1, 0};
  for (const Known& known : k32)
    if (h.bits == 32 && known.masks == h.masks) return known.places;
  fail("{}: a BMP with these bit fields is not supported; convert it to PNG", name);
}

/// Palette indices of a run-length coded picture, from the bottom row up; what is not coded is 0.
std::vector<std::uint8_t> read_runs(const BmpBytes& in, const Header& h, const std::string& name) {
  const auto width = static_cast<std::size_t>(h.width), total = width * static_cast<std::size_t>(h.height);
  const bool nibbles = h.compression == kRle4;
  std::vector<std::uint8_t> out = detail::allocate_bytes(total, name);
  std::size_t at = h.pixels_at, done = 0, x = 0;
  const auto put = [&](std::uint8_t value) {
    if (done < total) out[done++] = value;
  };
  while (done < total && at + 2 <= in.size()) {
    const std::uint8_t count = *in.at(at, 1), value = *in.at(at + 1, 1);
    at += 2;
    if (count > 0) {
      const std::size_t n = std::min<std::size_t>(count, width - std::min(x, width));
      for (std::size_t i = 0; i < n; ++i)
        put(static_cast<std::uint8_t>(!nibbles ? value : i % 2 == 0 ? value >> 4 : value & 0x0F));
      x += n;
    } else if (value == 0) {
      while (done % width != 0) put(0);
      x = 0;
    } else if (value == 1) {
      break;
    } else if (value == 2) {
      if (at + 2 > in.size()) break;
      done += std::min<std::size_t>(total - done, *in.at(at, 1) + *in.at(at + 1, 1) * width);
      at += 2;
      x = done % width;
    } else {
      const std::size_t n = std::min<std::size_t>(total - done, value), size = nibbles ? (n + 1) / 2 : n;
      const std::uint8_t* from = in.at(at, size);
      for (std::size_t i = 0; i < n; ++i)
        put(static_cast<std::uint8_t>(!nibbles ? from[i] : i % 2 == 0 ? from[i / 2] >> 4 : from[i / 2] & 0x0F));
      at += size;
      x += value;
      at += at % 2;
    }
  }
  // Pillow takes a picture whose code ends early for truncated.
  if (done < total) in.truncated();
  return out;
}

}  // namespace

Image detail::decode_bmp(std::span<const std::byte> bytes, const std::string& name) {
  const BmpBytes in(bytes, name);
  const Header h = read_header(in, name);
  check_size(h.width, h.height, name);
  const auto width = static_cast<std::size_t>(h.width), height = static_cast<std::size_t>(h.height);
  const bool runs = h.compression == kRle8 || h.compression == kRle4,
             indexed = h.bits == 1 || h.bits == 4 || h.bits == 8;
  if (!indexed && h.bits != 16 && h.bits != 24 && h.bits != 32)
    fail("{}: a BMP of {} bits a pixel is not supported; convert it to PNG", name, h.bits);
  if (h.compression > kBitFields || (runs && !indexed) || (h.compression == kBitFields && indexed))
    fail("{}: a BMP of compression {} with {} bits is not supported; convert it to PNG", name, h.compression, h.bits);
  const std::size_t stride = runs ? width : (width * h.bits + 31) / 32 * 4;
  // A byte of run-length code stands for at most 255 rows that are skipped; other pixels are all there.
  if (runs ? height > (bytes.size() + 1) * 255 : stride > (bytes.size() + 3) / height) in.truncated();
  const std::vector<std::uint8_t> decoded = runs ? read_runs(in, h, name) : std::vector<std::uint8_t>();
  const std::uint8_t* pixels =
      runs ? decoded.data() : in.at(h.pixels_at, stride * (height - 1) + (width * h.bits + 7) / 8);
  Image image = allocate_image(h.width, h.height, name);
  const Palette palette = indexed ? read_palette(in, h, name) : Palette{};
  const auto places = h.bits >= 24 ? byte_places(h, name) : std::array<std::size_t, 3>{};
  const bool five_six_five = h.bits == 16 && h.masks[1] == 0x7E0;
  if (h.bits == 16 && h.compression == kBitFields &&
      std::array{h.masks[0], h.masks[1], h.masks[2]} != (five_six_five
                                                             ? std::array<std::uint32_t, 3>{0xF800, 0x7E0, 0x1F}
                                                             : std::array<std::uint32_t, 3>{0x7C00, 0x3E0, 0x1F}))
    fail("{}: a BMP with these bit fields is not supported; convert it to PNG", name);
  const auto scaled = [](std::uint32_t value, std::uint32_t most) {
    return static_cast<std::uint8_t>(value * 255 / most);
  };
  for (std::size_t y = 0; y < height; ++y) {
    const std::uint8_t* row = pixels + stride * (h.top_down ? y : height - 1 - y);
    std::uint8_t* to = image.row(static_cast<int>(y));
    for (std::size_t x = 0; x < width; ++x, to += 3) {
      if (indexed) {
        const std::size_t per_byte = runs ? 1 : 8 / h.bits;
        const std::size_t shift = (per_byte - 1 - x % per_byte) * h.bits;
        std::copy_n(palette[runs ? row[x] : row[x / per_byte] >> shift & ((1u << h.bits) - 1)].data(), 3, to);
      } else if (h.bits == 16) {
        const std::uint32_t v = row[2 * x] | std::uint32_t{row[2 * x + 1]} << 8;
        to[0] = scaled(five_six_five ? v >> 11 : v >> 10 & 31, 31);
        to[1] = five_six_five ? scaled(v >> 5 & 63, 63) : scaled(v >> 5 & 31, 31);
        to[2] = scaled(v & 31, 31);
      } else {
        for (std::size_t c = 0; c < 3; ++c) to[c] = row[x * (h.bits / 8) + places[c]];
      }
    }
  }
  return image;
}

}  // namespace igq
