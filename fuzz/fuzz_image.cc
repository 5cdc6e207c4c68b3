// Images of every format: any bytes either decode to as many pixels as they claim, and then pass a model's
// preprocessing, or are an Error.
#include <cmath>
#include <vector>

#include "fuzz/fuzz.h"
#include "io/image.h"
#include "io/preprocess.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  fuzz::expect_error_or_success([&] {
    const Image image = decode_image(std::as_bytes(std::span(data, size)), "input", Orientation::kExif);
    if (image.width <= 0 || image.height <= 0) std::abort();
    if (image.rgb.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3)
      std::abort();
    if (image.rgb.size() > 20000) return;  // right, but slow
    std::vector<float> out(3 * 16 * 16);
    const PreprocessConfig config;
    normalize(resize_and_crop(image, config, 16, 16), config, out.data());
    for (const float v : out)
      if (!std::isfinite(v)) std::abort();
  });
  return 0;
}
