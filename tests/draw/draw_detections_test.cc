// What draw_detections paints, pixel by pixel where it matters; the picture itself is written when IGQ_DRAWN names a
// file.
#include "draw/draw_detections.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/file.h"
#include "base/output_file.h"
#include "draw/canvas.h"
#include "draw/font.h"
#include "igq/error.h"
#include "io/png_writer.h"

namespace igq::draw {
namespace {

Image gray(int width, int height) {
  Image image = detail::allocate_image(width, height, "test");
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < 3 * width; ++x) image.row(y)[x] = static_cast<std::uint8_t>(60 + (x / 3 * 100) / width);
  return image;
}

Colour at(const Image& image, int x, int y) {
  const std::uint8_t* p = image.row(y) + 3 * x;
  return {p[0], p[1], p[2]};
}

detection::Rle disc(int width, int height, int cx, int cy, int radius) {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(width * height), 0);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      if ((x - cx) * (x - cx) + (y - cy) * (y - cy) < radius * radius)
        mask[static_cast<std::size_t>(y * width + x)] = 1;
  return detection::rle_from_mask(mask, height, width);
}

const std::vector<std::string> kLabels = {"person", "bicycle", "traffic light", "Qgjpqy {}%&@#"};

TEST(DrawDetections, MaskFrameAndPlate) {
  Image image = gray(640, 480);
  const Image before = image;
  std::vector<Drawn> found = {{{100, 120, 300, 320}, disc(640, 480, 200, 220, 95), 0, 0.97f},
                              {{250, 60, 420, 330}, {}, 1, 0.88f},
                              {{400, 300, 639, 479}, disc(640, 480, 520, 400, 70), 2, 0.5f},
                              {{5, 2, 220, 60}, {}, 3, 0.31f},
                              {{500.4f, -20, 700, 100}, {}, 17, 1.0f}};
  draw_detections(image, found, kLabels);
  const Colour person = category_colour(0);
  EXPECT_EQ(at(image, 100, 250), person);  // frame: two pixels at this size
  EXPECT_EQ(at(image, 101, 250), person);
  EXPECT_EQ(at(image, 298, 310), person);
  EXPECT_EQ(at(image, 102, 315), at(before, 102, 315));  // within the box, outside the mask
  const Colour inside = at(image, 150, 220);
  EXPECT_NE(inside, at(before, 150, 220));
  EXPECT_NE(inside, person);  // blended
  EXPECT_EQ(at(image, 350, 400), at(before, 350, 400));
  EXPECT_EQ(at(image, 101, 100), person);  // the plate above the box
  int letters = 0;
  for (int y = 98; y < 120; ++y)
    for (int x = 100; x < 240; ++x) letters += at(image, x, y) == text_colour(person) ? 1 : 0;
  EXPECT_GT(letters, 300);
  if (const char* path = std::getenv("IGQ_DRAWN")) write_file(path, encode_png(image));
}

TEST(DrawDetections, AnySizeOfPictureAndNumberOfBoxes) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 200}, {200, 2}, {64, 64}}) {
    Image image = gray(width, height);
    std::vector<Drawn> found;
    for (int i = 0; i < 300; ++i)
      found.push_back({{static_cast<float>(i % 7) - 2, 0, static_cast<float>(i), static_cast<float>(i * i) - 1e9f},
                       {},
                       i,
                       static_cast<float>(i) / 300});
    draw_detections(image, found, kLabels);
    draw_detections(image, {}, {});
  }
}

TEST(DrawDetections, RefusesWhatCannotBeDrawn) {
  Image image = gray(20, 10);
  const std::vector<Drawn> infinite = {{{0, 0, INFINITY, 5}, {}, 0, 1.0f}};
  EXPECT_THROW(draw_detections(image, infinite, kLabels), Error);
  const std::vector<Drawn> other_size = {{{0, 0, 5, 5}, disc(10, 20, 5, 5, 3), 0, 1.0f}};
  EXPECT_THROW(draw_detections(image, other_size, kLabels), Error);
}

TEST(Font, EveryPrintableCharacterHasItsOwnShape) {
  std::vector<std::vector<std::uint8_t>> shapes;
  for (char32_t code = U' '; code <= U'~'; ++code) shapes.push_back(scaled_glyph(code, 1));
  for (std::size_t a = 0; a < shapes.size(); ++a)
    for (std::size_t b = 0; b < a; ++b) EXPECT_NE(shapes[a], shapes[b]) << a << ' ' << b;
  EXPECT_EQ(scaled_glyph(U'\u00e9', 2), scaled_glyph(U'\n', 2));
}

TEST(Font, CodePointsOfText) {
  EXPECT_EQ(code_points("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), (std::vector<char32_t>{U'a', 0xE9, 0x20AC, 0x1F600}));
  EXPECT_EQ(code_points("\xC3"), std::vector<char32_t>{0xFFFD});
  EXPECT_EQ(code_points("\x80z"), (std::vector<char32_t>{0xFFFD, U'z'}));
}

TEST(Colours, NeighboursDiffer) {
  for (int i = 0; i < 100; ++i) {
    const Colour a = category_colour(i), b = category_colour(i + 1);
    int distance = 0;
    for (std::size_t c = 0; c < 3; ++c) distance += std::abs(a[c] - b[c]);
    EXPECT_GT(distance, 100) << i;
  }
}

}  // namespace
}  // namespace igq::draw
