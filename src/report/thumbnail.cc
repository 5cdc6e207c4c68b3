#include "report/thumbnail.h"

#include "io/png_writer.h"
#include "io/preprocess.h"
#include "io/resize.h"

namespace igq::report {

std::string thumbnail(const Sample& sample, const ModelConfig& config) {
  constexpr int kLongest = 84;
  const Image image = resize_and_crop(load_image(sample.path, config.preprocess.orientation), config.preprocess,
                                      config.image_height, config.image_width);
  return encode_png(shrunk(image, kLongest));
}

}  // namespace igq::report
