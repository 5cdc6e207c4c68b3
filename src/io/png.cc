// PNG by libpng, every colour type and depth, with Pillow's conversions to RGB: transparency ignored, 16-bit colour cut
// to its high byte, 16-bit gray clipped at 255 (Pillow's I;16 -> RGB), palette indices past the palette's end black. As
// in Pillow the picture is whole when its last row is: what follows (checksum, end chunk) may be missing or wrong.
//
// libpng reports faults by longjmp; the same rule as in jpeg.cc: setjmp only in noexcept functions of trivial locals.
#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include <png.h>
#include <zlib.h>

#include "base/fail.h"
#include "io/image.h"

namespace igq {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::byte* data = nullptr;
  std::size_t left = 0;
  bool truncated = false;
  bool checksum_missing = false;  ///< of the chunk that was cut short
  std::jmp_buf jump;
  char message[160] = {};

  Reader() = default;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", text);
  std::longjmp(reader->jump, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, std::size_t size) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (size == 4 && reader->left == 0 && reader->checksum_missing) {
    reader->checksum_missing = false;
    std::memset(out, 0, size);
    return;
  }
  if (size > reader->left) {
    reader->truncated = true;
    png_error(png, "the file ends too early");
  }
  std::memcpy(out, reader->data, size);
  reader->data += size;
  reader->left -= size;
  // Image data that the file does not hold to its end may hold the picture to its end: libpng is told the length there
  // is.
  constexpr std::size_t kHeader = 8;
  if (size != kHeader || std::memcmp(out + 4, "IDAT", 4) != 0) return;
  const png_uint_32 length = png_get_uint_32(out);
  if (length <= reader->left || length > PNG_UINT_31_MAX) return;
  png_save_uint_32(out, static_cast<png_uint_32>(reader->left));
  reader->checksum_missing = true;
}

/// False on a fault; the reader says which. Afterwards rows come as 1, 2 (16-bit gray) or 3 bytes a pixel.
bool read_header(Reader& reader) noexcept {
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png == nullptr) return false;
  if (setjmp(reader.jump) != 0) return false;
  reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  png_set_user_limits(reader.png, 0x7FFFFFFF, 0x7FFFFFFF);  // the pixel count is limited by check_size
  // No ancillary chunk changes the pixels; a damaged one must not matter, nor a large one cost memory.
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  // Pillow does not look at the checksums of image data; those of the header are checked by check_header.
  png_set_crc_action(reader.png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_read_info(reader.png, reader.info);
  const int color = png_get_color_type(reader.png, reader.info);
  png_set_packing(reader.png);  // one byte per pixel below 8 bits, values not scaled
  if (color != PNG_COLOR_TYPE_GRAY) png_set_strip_16(reader.png);
  if ((color & PNG_COLOR_MASK_ALPHA) != 0) png_set_strip_alpha(reader.png);
  return true;
}

bool start_pixels(Reader& reader) noexcept {
  if (setjmp(reader.jump) != 0) return false;
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

/// Decodes into rows of `stride` bytes.
bool read_pixels(Reader& reader, png_bytep pixels, std::size_t stride, png_uint_32 height, int passes) noexcept {
  // After the last row of the last pass libpng reads what is left of the data; a fault there is no fault of the
  // picture.
  if (setjmp(reader.jump) != 0)
    return passes == 1 ? png_get_current_row_number(reader.png) == height
                       : png_get_current_pass_number(reader.png) == 7;
  for (int pass = 0; pass < passes; ++pass)
    for (png_uint_32 y = 0; y < height; ++y) png_read_row(reader.png, pixels + stride * y, nullptr);
  return true;
}

/// Error when a chunk that matters fails its checksum before the image data begins (as in Pillow, and only there).
void check_header(std::span<const std::byte> bytes, const std::string& name) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto word = [&](std::size_t at) {
    return std::uint32_t{data[at]} << 24 | std::uint32_t{data[at + 1]} << 16 | std::uint32_t{data[at + 2]} << 8 |
           data[at + 3];
  };
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    const std::size_t length = word(at);
    if (length > bytes.size() - at - 12 || std::memcmp(data + at + 4, "IDAT", 4) == 0) return;
    const bool critical = data[at + 4] < 'a';
    if (critical && crc32(0, data + at + 4, static_cast<uInt>(length + 4)) != word(at + 8 + length))
      fail("{}: damaged PNG image: {}: CRC error", name,
           std::string_view(reinterpret_cast<const char*>(data) + at + 4, 4));
    at += length + 12;
  }
}

[[noreturn]] void fail_read(const Reader& reader, const std::string& name) {
  if (reader.truncated) fail("{}: truncated PNG image: the file ends before the picture does; fetch it again", name);
  fail("{}: damaged PNG image: {}", name, reader.message[0] != '\0' ? reader.message : "out of memory");
}

/// Colour of every pixel value that a row of one byte per pixel can hold.
std::array<std::array<std::uint8_t, 3>, 256> color_table(const Reader& reader, int color, int depth) {
  std::array<std::array<std::uint8_t, 3>, 256> table{};
  if (color == PNG_COLOR_TYPE_PALETTE) {
    png_colorp palette = nullptr;
    int count = 0;
    png_get_PLTE(reader.png, reader.info, &palette, &count);
    for (int i = 0; i < std::min(count, 256); ++i) table[i] = {palette[i].red, palette[i].green, palette[i].blue};
    return table;
  }
  const int largest = (1 << std::min(depth, 8)) - 1;
  for (int i = 0; i <= largest; ++i) table[i].fill(static_cast<std::uint8_t>(i * 255 / largest));
  return table;
}

}  // namespace

Image detail::decode_png(std::span<const std::byte> bytes, const std::string& name) {
  check_header(bytes, name);
  Reader reader;
  reader.data = bytes.data();
  reader.left = bytes.size();
  if (!read_header(reader)) fail_read(reader, name);
  const std::int64_t width = png_get_image_width(reader.png, reader.info);
  const std::int64_t height = png_get_image_height(reader.png, reader.info);
  const int color = png_get_color_type(reader.png, reader.info);
  const int depth = png_get_bit_depth(reader.png, reader.info);
  const int channels = png_get_channels(reader.png, reader.info);
  check_size(width, height, name);
  // Deflate makes at most 1032 bytes out of one: a file far too short for its claimed size is not allocated for.
  if (width * height / 8 * channels * depth / 1032 > static_cast<std::int64_t>(bytes.size())) {
    reader.truncated = true;
    fail_read(reader, name);
  }
  Image image = allocate_image(width, height, name);
  if (!start_pixels(reader)) fail_read(reader, name);

  const int passes = png_get_interlace_type(reader.png, reader.info) == PNG_INTERLACE_NONE ? 1 : 7;
  const std::size_t count = static_cast<std::size_t>(width * height);
  const std::size_t stride = png_get_rowbytes(reader.png, reader.info);
  const std::size_t bytes_per_pixel = stride / static_cast<std::size_t>(width);
  const auto rows = static_cast<png_uint_32>(height);
  if (bytes_per_pixel == 3) {
    if (!read_pixels(reader, image.rgb.data(), stride, rows, passes)) fail_read(reader, name);
    return image;
  }
  // At the end of the image's own memory: what pixel i becomes never reaches pixel i + 1.
  std::uint8_t* pixels = image.rgb.data() + (3 - bytes_per_pixel) * count;
  if (!read_pixels(reader, pixels, stride, rows, passes)) fail_read(reader, name);
  if (bytes_per_pixel == 2) {  // 16-bit gray, big endian
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t value = pixels[2 * i] != 0 ? 255 : pixels[2 * i + 1];
      std::fill_n(image.rgb.data() + 3 * i, 3, value);
    }
    return image;
  }
  const auto table = color_table(reader, color, depth);
  for (std::size_t i = 0; i < count; ++i) std::copy_n(table[pixels[i]].data(), 3, image.rgb.data() + 3 * i);
  return image;
}

}  // namespace igq
