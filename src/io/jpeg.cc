// JPEG by libjpeg-turbo with Pillow's settings: accurate integer DCT, fancy upsampling; gray, RGB and CMYK/YCCK, the
// last two inverted as Adobe stores them and turned to RGB by Pillow's formula.
//
// libjpeg reports faults by longjmp. Every function that calls setjmp here is noexcept, holds only trivial locals and
// runs no C++ that allocates, so nothing with a destructor is jumped over; memory is allocated between them.
#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include <jpeglib.h>

#include "base/fail.h"
#include "io/image.h"

namespace igq {
namespace {

/// More scans than any encoder writes; a hostile progressive file can ask for a pass over the image every few bytes.
constexpr std::int64_t kMaxScans = 1000, kMinScans = 32;
/// Passes over blocks that all scans of a picture may take together: so many scans of the largest picture take seconds.
constexpr std::int64_t kMaxBlockVisits = std::int64_t{1} << 26;
/// Pictures up to this size are read from however few bytes, as Pillow reads them.
constexpr std::int64_t kSmallPixels = std::int64_t{1} << 20;

struct Reader {
  jpeg_decompress_struct info;
  jpeg_error_mgr error;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  std::jmp_buf jump;
  std::int64_t blocks;            ///< of 8 x 8 samples, of all components; 0 before the header is read
  char message[JMSG_LENGTH_MAX];  ///< empty: no fault but the file's early end

  Reader() { std::memset(static_cast<void*>(this), 0, sizeof *this); }
  ~Reader() { jpeg_destroy_decompress(&info); }  // harmless when never created: the memory manager is null then
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

[[noreturn]] void on_error(j_common_ptr common) {
  auto* reader = static_cast<Reader*>(common->client_data);
  (*common->err->format_message)(common, reader->message);
  std::longjmp(reader->jump, 1);
}

void on_message(j_common_ptr, int) {}
void on_output(j_common_ptr) {}

void on_progress(j_common_ptr common) {
  auto* reader = static_cast<Reader*>(common->client_data);
  if (!common->is_decompressor || reader->blocks == 0) return;
  const std::int64_t scans = std::clamp(kMaxBlockVisits / reader->blocks, kMinScans, kMaxScans);
  if (reader->info.input_scan_number > scans) {
    std::snprintf(reader->message, sizeof reader->message, "more than %d scans", static_cast<int>(scans));
    std::longjmp(reader->jump, 1);
  }
}

// The whole file is in memory. When it is used up the source suspends, as Pillow's does, and the file counts as
// truncated; libjpeg's own memory source would invent an end marker and return a gray remainder.
void source_noop(j_decompress_ptr) {}
boolean source_fill(j_decompress_ptr) { return FALSE; }
void source_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const std::size_t n = std::min(static_cast<std::size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += n;
  info->src->bytes_in_buffer -= n;
}

/// False on a fault (reader.message says which) or a file that ends too early (no message).
bool read_header(Reader& reader, const JOCTET* data, std::size_t size) noexcept {
  jpeg_decompress_struct& info = reader.info;
  info.err = jpeg_std_error(&reader.error);
  reader.error.error_exit = on_error;
  reader.error.emit_message = on_message;
  reader.error.output_message = on_output;
  info.client_data = &reader;
  if (setjmp(reader.jump) != 0) return false;
  jpeg_create_decompress(&info);
  reader.progress.progress_monitor = on_progress;
  info.progress = &reader.progress;
  reader.source.next_input_byte = data;
  reader.source.bytes_in_buffer = size;
  reader.source.init_source = source_noop;
  reader.source.fill_input_buffer = source_fill;
  reader.source.skip_input_data = source_skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = source_noop;
  info.src = &reader.source;
  return jpeg_read_header(&info, TRUE) == JPEG_HEADER_OK;
}

/// Decodes into `pixels` [height, width, components]; the result as in read_header.
bool read_pixels(Reader& reader, JSAMPLE* pixels) noexcept {
  jpeg_decompress_struct& info = reader.info;
  if (setjmp(reader.jump) != 0) return false;
  info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : info.num_components == 3 ? JCS_RGB : JCS_CMYK;
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  if (!jpeg_start_decompress(&info)) return false;
  const std::size_t stride = std::size_t{info.output_width} * static_cast<std::size_t>(info.output_components);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + stride * info.output_scanline;
    if (jpeg_read_scanlines(&info, &row, 1) != 1) return false;
  }
  // A missing end marker after the last row is tolerated (the call suspends), a fault there is not; both as in Pillow.
  jpeg_finish_decompress(&info);
  return true;
}

/// Blocks of all components, as many as a scan of each has.
std::int64_t count_blocks(const jpeg_decompress_struct& info) {
  int largest_h = 1, largest_v = 1;
  for (int c = 0; c < info.num_components; ++c) {
    largest_h = std::max(largest_h, info.comp_info[c].h_samp_factor);
    largest_v = std::max(largest_v, info.comp_info[c].v_samp_factor);
  }
  const auto along = [](std::int64_t size, int factor, int largest) {
    const std::int64_t samples = (size * factor + largest - 1) / largest;
    return (samples + DCTSIZE - 1) / DCTSIZE;
  };
  std::int64_t blocks = 0;
  for (int c = 0; c < info.num_components; ++c) {
    const jpeg_component_info& component = info.comp_info[c];
    blocks += along(info.image_width, component.h_samp_factor, largest_h) *
              along(info.image_height, component.v_samp_factor, largest_v);
  }
  return blocks;
}

[[noreturn]] void fail_read(const Reader& reader, const std::string& name) {
  if (reader.message[0] != '\0') fail("{}: damaged JPEG image: {}", name, reader.message);
  fail("{}: truncated JPEG image: the file ends before the picture does; fetch it again", name);
}

}  // namespace

Image detail::decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  Reader reader;
  if (!read_header(reader, reinterpret_cast<const JOCTET*>(bytes.data()), bytes.size())) fail_read(reader, name);
  const jpeg_decompress_struct& info = reader.info;
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4)
    fail("{}: a JPEG of {} components is not supported; convert it to RGB", name, components);
  const std::int64_t width = info.image_width, height = info.image_height;
  check_size(width, height, name);
  // A block costs at least one bit of Huffman code, and arithmetic code comes below that only in pictures of nothing: a
  // file too short for the size it claims is neither allocated nor decoded for.
  reader.blocks = count_blocks(info);
  if (width * height > kSmallPixels && reader.blocks / 8 > static_cast<std::int64_t>(bytes.size()))
    fail_read(reader, name);
  Image image = allocate_image(width, height, name);
  if (components == 3) {
    if (!read_pixels(reader, image.rgb.data())) fail_read(reader, name);
    return image;
  }
  const std::size_t count = static_cast<std::size_t>(width * height);
  if (components == 1) {
    // At the end of the image's own memory: what pixel i becomes never reaches pixel i + 1.
    std::uint8_t* gray = image.rgb.data() + 2 * count;
    if (!read_pixels(reader, gray)) fail_read(reader, name);
    for (std::size_t i = 0; i < count; ++i) std::fill_n(image.rgb.data() + 3 * i, 3, std::uint8_t{gray[i]});
    return image;
  }
  std::vector<std::uint8_t> pixels = allocate_bytes(count * static_cast<std::size_t>(components), name);
  if (!read_pixels(reader, pixels.data())) fail_read(reader, name);
  for (std::size_t i = 0; i < count; ++i) {
    // Adobe stores 255 - c, 255 - m ..., and Pillow takes every CMYK JPEG for one of Adobe's.
    std::array<std::uint8_t, 4> cmyk;
    for (std::size_t c = 0; c < 4; ++c) cmyk[c] = static_cast<std::uint8_t>(255 - pixels[4 * i + c]);
    cmyk_to_rgb(cmyk.data(), image.rgb.data() + 3 * i);
  }
  return image;
}

}  // namespace igq
