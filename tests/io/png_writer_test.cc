// PNG files in memory decode to the pixels they were made from.
#include "io/png_writer.h"

#include <gtest/gtest.h>

#include <span>

#include "base/random.h"

namespace igq {
namespace {

TEST(PngWriter, EverySizeSurvivesTheRoundTrip) {
  Random random(5);
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 200}, {257, 2}, {84, 63}}) {
    Image image{width, height, {}};
    image.rgb.resize(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    for (auto& v : image.rgb) v = static_cast<std::uint8_t>(random.below(256));
    const std::string bytes = encode_png(image);
    const Image back = decode_image(std::as_bytes(std::span(bytes)), "png");
    EXPECT_EQ(back.width, width);
    EXPECT_EQ(back.height, height);
    EXPECT_EQ(back.rgb, image.rgb);
  }
}

}  // namespace
}  // namespace igq
