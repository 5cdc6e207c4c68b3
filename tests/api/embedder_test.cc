// The public Embedder: the same bits alone, in a batch and on any number of threads; faults beside a batch.
#include <gtest/gtest.h>
#include <igq/embedder.h>

#include <cmath>
#include <vector>

#include "tests/test_util.h"

namespace igq {
namespace {

TEST(Embedder, BatchesGiveTheVectorsOfSingleImages) {
  const std::filesystem::path photo = test::fixtures() / "images/rgb.jpg", model = test::fixtures() / "igq/v1.igq";
  ClassifierOptions single, three;
  single.threads = 1;
  three.threads = 3;
  Embedder one(model, single), many(model, three);
  const auto width = static_cast<std::size_t>(one.width());
  std::vector<float> alone(width), all(5 * width, 7.0f);
  one.embed(ImageSource::file(photo), alone);
  std::vector<ImageSource> images(5, ImageSource::file(photo));
  images[3] = ImageSource::file("nothing.png");
  std::vector<std::string> errors;
  many.embed(images, all, false, &errors);
  for (std::size_t i = 0; i < 5; ++i) {
    const std::vector<float> row(all.begin() + static_cast<std::ptrdiff_t>(i * width),
                                 all.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
    EXPECT_EQ(errors[i].empty(), i != 3);
    EXPECT_EQ(row, i == 3 ? std::vector<float>(width) : alone);
  }
  EXPECT_THROW(many.embed(images, all), Error);
  EXPECT_THROW(many.embed(images[0], all), Error);
  std::vector<float> unit(width);
  one.embed(ImageSource::file(photo), unit, true);
  double square = 0.0;
  for (const float v : unit) square += static_cast<double>(v) * static_cast<double>(v);
  EXPECT_NEAR(square, 1.0, 1e-5);
}

}  // namespace
}  // namespace igq
