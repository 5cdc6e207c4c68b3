// TIFF by libtiff: the first page, with the sample layouts that Pillow reads (its OPEN_INFO) and its conversions to
// RGB: gray of 16 and more bits clipped at 255, colour of 16 bits cut to the high byte, alpha dropped (premultiplied
// alpha divided out), turned upright by the orientation tag. Layouts that Pillow refuses, and Lab, are refused by name.
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>

#include "base/fail.h"
#include "io/image.h"
#include "io/orientation.h"

namespace igq {
namespace {

/// The file in memory, and the first fault that libtiff reports.
struct Source {
  std::span<const std::byte> bytes;
  std::uint64_t at = 0;
  std::string fault;
};

tmsize_t read_bytes(thandle_t handle, void* out, tmsize_t size) {
  auto* s = static_cast<Source*>(handle);
  const std::uint64_t left = s->at < s->bytes.size() ? s->bytes.size() - s->at : 0;
  const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left, static_cast<std::uint64_t>(size)));
  if (n > 0) std::memcpy(out, s->bytes.data() + s->at, n);
  s->at += n;
  return static_cast<tmsize_t>(n);
}
tmsize_t write_bytes(thandle_t, void*, tmsize_t) { return 0; }
toff_t seek(thandle_t handle, toff_t offset, int whence) {
  auto* s = static_cast<Source*>(handle);
  s->at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? s->at + offset : s->bytes.size() + offset;
  return s->at;
}
int close_nothing(thandle_t) { return 0; }
toff_t size_of(thandle_t handle) { return static_cast<Source*>(handle)->bytes.size(); }
int map_nothing(thandle_t, void**, toff_t*) { return 0; }
void unmap_nothing(thandle_t, void*, toff_t) {}

int on_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto* s = static_cast<Source*>(user);
  std::array<char, 256> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  if (s->fault.empty()) s->fault = text.data();
  return 1;
}
int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct Layout {
  std::uint32_t width = 0, height = 0;
  std::uint16_t photometric = 0, bits = 1, samples = 1, format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG;
  std::uint16_t compression = COMPRESSION_NONE, alpha = EXTRASAMPLE_UNSPECIFIED;
  int colors = 1;
};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name)
      : name_(name), source_{bytes, 0, {}}, tiff_(nullptr, &TIFFClose) {
    const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(TIFFOpenOptionsAlloc(),
                                                                                   &TIFFOpenOptionsFree);
    if (options == nullptr) fail("{}: out of memory", name);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &source_);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, nullptr);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t{1} << 31);
    tiff_.reset(TIFFClientOpenExt("image", "rm", &source_, read_bytes, write_bytes, seek, close_nothing, size_of,
                                  map_nothing, unmap_nothing, options.get()));
    if (tiff_ == nullptr) fail_read();
  }
  TIFF* tiff() const { return tiff_.get(); }
  std::uint16_t tag(std::uint32_t which) const {
    std::uint16_t value = 0;
    TIFFGetFieldDefaulted(tiff_.get(), which, &value);
    return value;
  }
  [[noreturn]] void fail_read() const {
    fail("{}: damaged or truncated TIFF image: {}", name_,
         source_.fault.empty() ? "its first page cannot be read" : source_.fault);
  }

 private:
  const std::string& name_;
  Source source_;
  std::unique_ptr<TIFF, decltype(&TIFFClose)> tiff_;
};

Layout read_layout(const Reader& reader, const std::string& name) {
  Layout l;
  TIFF* tiff = reader.tiff();
  if (TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &l.width) == 0 || TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &l.height) == 0)
    reader.fail_read();
  detail::check_size(l.width, l.height, name);
  l.bits = reader.tag(TIFFTAG_BITSPERSAMPLE);
  l.samples = reader.tag(TIFFTAG_SAMPLESPERPIXEL);
  l.format = reader.tag(TIFFTAG_SAMPLEFORMAT);
  l.planar = reader.tag(TIFFTAG_PLANARCONFIG);
  l.compression = reader.tag(TIFFTAG_COMPRESSION);
  if (l.format == SAMPLEFORMAT_VOID) l.format = SAMPLEFORMAT_UINT;
  l.photometric = l.compression == COMPRESSION_OJPEG ? PHOTOMETRIC_YCBCR : reader.tag(TIFFTAG_PHOTOMETRIC);
  l.colors = l.photometric == PHOTOMETRIC_RGB || l.photometric == PHOTOMETRIC_YCBCR ? 3
             : l.photometric == PHOTOMETRIC_SEPARATED                               ? 4
                                                                                    : 1;
  std::uint16_t extra = 0;
  std::uint16_t* kinds = nullptr;
  TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
  if (extra > 0 && kinds != nullptr) l.alpha = kinds[0];

  const bool whole = l.format == SAMPLEFORMAT_UINT;
  const bool gray = l.photometric == PHOTOMETRIC_MINISWHITE || l.photometric == PHOTOMETRIC_MINISBLACK;
  const bool small = l.bits == 1 || l.bits == 2 || l.bits == 4 || l.bits == 8;
  bool known = l.samples >= l.colors && l.samples <= 6;
  if (gray && l.samples == 1) {
    const bool dark = l.photometric == PHOTOMETRIC_MINISBLACK, big = TIFFIsBigEndian(tiff) != 0;
    const bool swapped = big && l.compression != COMPRESSION_NONE;  // Pillow swaps these bytes twice
    known = (whole && (small || (l.bits == 16 && (dark || !big)) || (l.bits == 32 && dark && !big))) ||
            (dark && l.format == SAMPLEFORMAT_INT && (l.bits == 8 || ((l.bits == 16 || l.bits == 32) && !swapped))) ||
            (l.format == SAMPLEFORMAT_IEEEFP && l.bits == 32 && !swapped);
  } else if (gray) {
    known = known && whole && l.bits == 8 && l.samples == 2 && l.alpha != EXTRASAMPLE_ASSOCALPHA;
  } else if (l.photometric == PHOTOMETRIC_PALETTE) {
    known = known && whole && (l.samples == 1 ? small : l.bits == 8 && l.samples == 2);
  } else if (l.photometric == PHOTOMETRIC_YCBCR) {
    known = known && whole && l.bits == 8 && l.compression != COMPRESSION_NONE;
  } else {
    known = known && (l.photometric == PHOTOMETRIC_RGB || l.photometric == PHOTOMETRIC_SEPARATED) && whole &&
            (l.bits == 8 || l.bits == 16);
  }
  if (!known)
    fail(
        "{}: a TIFF of photometric interpretation {}, {} samples of {} bits in format {} is not supported; convert it "
        "to PNG",
        name, l.photometric, l.samples, l.bits, l.format);
  return l;
}

/// One sample of a row as 8 bits, by Pillow's rules.
class Samples {
 public:
  Samples(const Layout& layout) : bits_(layout.bits), format_(layout.format), gray_(layout.colors == 1) {
    inverted_ = layout.photometric == PHOTOMETRIC_MINISWHITE && layout.bits <= 8;
    scaled_ = layout.photometric != PHOTOMETRIC_PALETTE;
  }
  std::uint8_t at(const std::uint8_t* row, std::size_t i) const {
    switch (bits_) {
      case 8:
        return static_cast<std::uint8_t>(inverted_ ? 255 - row[i] : row[i]);
      case 16: {
        std::uint16_t value;
        std::memcpy(&value, row + 2 * i, 2);
        if (!gray_) return static_cast<std::uint8_t>(value >> 8);
        if (format_ == SAMPLEFORMAT_INT)
          return static_cast<std::uint8_t>(std::clamp<int>(static_cast<std::int16_t>(value), 0, 255));
        return static_cast<std::uint8_t>(std::min<int>(value, 255));
      }
      case 32:
        return wide(row + 4 * i);
      default: {
        const std::size_t per_byte = 8u / bits_, shift = (per_byte - 1 - i % per_byte) * bits_;
        const int most = (1 << bits_) - 1, value = row[i / per_byte] >> shift & most;
        return static_cast<std::uint8_t>((inverted_ ? most - value : value) * (scaled_ ? 255 / most : 1));
      }
    }
  }

 private:
  std::uint8_t wide(const std::uint8_t* from) const {
    if (format_ == SAMPLEFORMAT_IEEEFP) {
      float value;
      std::memcpy(&value, from, 4);
      return static_cast<std::uint8_t>(!(value > 0.0f) ? 0 : value >= 255.0f ? 255 : value);
    }
    std::int32_t value;  // Pillow's mode I is signed
    std::memcpy(&value, from, 4);
    return static_cast<std::uint8_t>(std::clamp(value, 0, 255));
  }
  std::size_t bits_;
  std::uint16_t format_;
  bool gray_, inverted_, scaled_;
};

/// Where rows of samples come from: strips or tiles, with all samples of a pixel together or in planes of their own.
class Blocks {
 public:
  Blocks(const Reader& reader, const Layout& l, const std::string& name)
      : reader_(reader), tiled_(TIFFIsTiled(reader.tiff()) != 0) {
    width_ = l.width;
    height_ = l.height;
    if (tiled_) {
      TIFFGetField(reader.tiff(), TIFFTAG_TILEWIDTH, &width_);
      TIFFGetField(reader.tiff(), TIFFTAG_TILELENGTH, &height_);
    } else {
      TIFFGetFieldDefaulted(reader.tiff(), TIFFTAG_ROWSPERSTRIP, &height_);
      height_ = std::min(height_, l.height);
    }
    const tmsize_t size = tiled_ ? TIFFTileSize(reader.tiff()) : TIFFStripSize(reader.tiff());
    row_ = static_cast<std::size_t>(tiled_ ? TIFFTileRowSize(reader.tiff()) : TIFFScanlineSize(reader.tiff()));
    if (size <= 0 || row_ == 0 || width_ == 0 || height_ == 0) reader.fail_read();
    detail::check_size(width_, height_, name);
    bytes_ = detail::allocate_bytes(static_cast<std::size_t>(size), name);
  }
  std::uint32_t width() const { return width_; }
  std::uint32_t height() const { return height_; }
  /// Reads the block whose first pixel is (x, y); rows that the picture has no pixels for may be missing in it.
  void read(std::uint32_t x, std::uint32_t y, std::uint16_t plane, std::uint32_t rows) {
    TIFF* tiff = reader_.tiff();
    const tmsize_t wanted = static_cast<tmsize_t>(row_ * (tiled_ ? height_ : rows));
    if (wanted > static_cast<tmsize_t>(bytes_.size())) reader_.fail_read();
    const tmsize_t got = tiled_ ? TIFFReadTile(tiff, bytes_.data(), x, y, 0, plane)
                                : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, plane), bytes_.data(), wanted);
    if (got < wanted) reader_.fail_read();
  }
  const std::uint8_t* row(std::uint32_t y) const { return bytes_.data() + row_ * y; }

 private:
  const Reader& reader_;
  bool tiled_;
  std::uint32_t width_ = 0, height_ = 0;
  std::size_t row_ = 0;
  std::vector<std::uint8_t> bytes_;
};

/// Samples of 8 bits, [height, width, kept].
std::vector<std::uint8_t> read_samples(const Reader& reader, const Layout& l, std::size_t kept,
                                       const std::string& name) {
  std::vector<std::uint8_t> out;
  Blocks blocks(reader, l, name);
  const bool separate = l.planar == PLANARCONFIG_SEPARATE && l.samples > 1;
  const Samples samples(l);
  for (std::uint16_t plane = 0; plane < (separate ? kept : 1); ++plane)
    for (std::uint32_t y = 0; y < l.height; y += blocks.height())
      for (std::uint32_t x = 0; x < l.width; x += blocks.width()) {
        const std::uint32_t rows = std::min(blocks.height(), l.height - y),
                            columns = std::min(blocks.width(), l.width - x);
        blocks.read(x, y, plane, rows);
        // Not before the first block could be read: a small file may claim many pixels.
        if (out.empty()) out = detail::allocate_bytes(std::size_t{l.width} * l.height * kept, name);
        for (std::uint32_t r = 0; r < rows; ++r) {
          std::uint8_t* to = out.data() + (std::size_t{y + r} * l.width + x) * kept;
          for (std::size_t c = 0; c < columns; ++c)
            for (std::size_t s = separate ? plane : 0; s < (separate ? plane + std::size_t{1} : kept); ++s)
              to[c * kept + s] = samples.at(blocks.row(r), separate ? c : c * l.samples + s);
        }
      }
  return out;
}

/// YCbCr by libtiff's own conversion, which Pillow uses too.
Image read_ycbcr(const Reader& reader, const Layout& l, const std::string& name) {
  Image image = detail::allocate_image(l.width, l.height, name);
  std::vector<std::uint8_t> rgba = detail::allocate_bytes(std::size_t{l.width} * l.height * 4, name);
  // Rows from the top whatever the orientation says; it is applied afterwards.
  std::array<char, 1024> why{};
  TIFFRGBAImage converter;
  if (TIFFRGBAImageBegin(&converter, reader.tiff(), 1, why.data()) == 0) reader.fail_read();
  converter.req_orientation = converter.orientation;
  const bool done = TIFFRGBAImageGet(&converter, reinterpret_cast<std::uint32_t*>(rgba.data()), l.width, l.height) != 0;
  TIFFRGBAImageEnd(&converter);
  if (!done) reader.fail_read();
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) {
    std::uint32_t pixel;
    std::memcpy(&pixel, rgba.data() + 4 * i, 4);
    image.rgb[3 * i] = static_cast<std::uint8_t>(TIFFGetR(pixel));
    image.rgb[3 * i + 1] = static_cast<std::uint8_t>(TIFFGetG(pixel));
    image.rgb[3 * i + 2] = static_cast<std::uint8_t>(TIFFGetB(pixel));
  }
  return image;
}

/// 256 colours; libtiff gives the table in 16 bits, of which Pillow takes the high byte.
std::vector<std::uint8_t> read_palette(const Reader& reader, const Layout& l) {
  std::array<std::uint16_t*, 3> maps{};
  std::vector<std::uint8_t> palette(3 * 256, 0);
  if (TIFFGetField(reader.tiff(), TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]) == 0) reader.fail_read();
  for (std::size_t i = 0; i < std::size_t{1} << l.bits; ++i)
    for (std::size_t c = 0; c < 3; ++c) palette[3 * i + c] = static_cast<std::uint8_t>(maps[c][i] >> 8);
  return palette;
}

}  // namespace

Image detail::decode_tiff(std::span<const std::byte> bytes, const std::string& name) {
  const Reader reader(bytes, name);
  const Layout l = read_layout(reader, name);
  const int orientation = reader.tag(TIFFTAG_ORIENTATION);
  if (l.photometric == PHOTOMETRIC_YCBCR && (l.compression != COMPRESSION_JPEG || l.planar != PLANARCONFIG_CONTIG))
    return turn_upright(read_ycbcr(reader, l, name), orientation, name);
  if (l.compression == COMPRESSION_JPEG) TIFFSetField(reader.tiff(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  const bool premultiplied = l.colors == 3 && l.samples > 3 && l.alpha == EXTRASAMPLE_ASSOCALPHA;
  const std::size_t kept = static_cast<std::size_t>(l.colors + (premultiplied ? 1 : 0));
  const std::vector<std::uint8_t> samples = read_samples(reader, l, kept, name);
  const bool indexed = l.photometric == PHOTOMETRIC_PALETTE;
  const std::vector<std::uint8_t> palette = indexed ? read_palette(reader, l) : std::vector<std::uint8_t>();
  Image image = allocate_image(l.width, l.height, name);
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) {
    const std::uint8_t* from = samples.data() + i * kept;
    std::uint8_t* to = image.rgb.data() + 3 * i;
    if (indexed) {
      std::copy_n(palette.data() + 3 * std::size_t{*from}, 3, to);
    } else if (l.colors == 1) {
      std::fill_n(to, 3, *from);
    } else if (l.colors == 4) {
      cmyk_to_rgb(from, to);
    } else if (premultiplied) {
      for (std::size_t c = 0; c < 3; ++c)
        to[c] = static_cast<std::uint8_t>(from[3] == 0     ? 0
                                          : from[3] == 255 ? from[c]
                                                           : std::min(255, from[c] * 255 / from[3]));
    } else {
      std::copy_n(from, 3, to);
    }
  }
  return turn_upright(std::move(image), orientation, name);
}

}  // namespace igq
