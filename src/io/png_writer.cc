#include "io/png_writer.h"

#include <cassert>

#include <png.h>

#include "base/fail.h"

namespace igq {

std::string encode_png(const Image& image) {
  assert(image.width > 0 && image.height > 0 && image.rgb.size() == std::size_t{3} * image.width * image.height);
  // libpng's simplified interface: it reports faults by its return value, so no longjmp passes through here.
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(png), '\0');
  png_alloc_size_t size = bytes.size();
  if (png_image_write_to_memory(&png, bytes.data(), &size, 0, image.rgb.data(), 0, nullptr) == 0)
    fail("cannot write a PNG image of {} x {} pixels: {}", image.width, image.height, png.message);
  bytes.resize(size);
  return bytes;
}

}  // namespace igq
