// The public Embedder: the same bits alone, in a batch and on any number of threads; faults beside a batch.
#include <gtest/gtest.h>
#include <igq/embedder.h>

#include <algorithm>
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

TEST(Embedder, OneModelGivesVectorsTokensAndClasses) {
  const std::filesystem::path photo = test::fixtures() / "images/rgb.jpg", file = test::fixtures() / "igq/v1.igq";
  Embedder model(file);
  const std::size_t values = static_cast<std::size_t>(model.tokens()) * static_cast<std::size_t>(model.token_width());
  const std::vector<ImageSource> images(3, ImageSource::file(photo));
  std::vector<float> tokens(3 * values), again(values);
  model.features(images, tokens);
  EXPECT_GT(model.loading_seconds(), 0.0);
  Embedder other = model.share();
  other.features({images.data(), 1}, again);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(std::equal(again.begin(), again.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i * values)));
  EXPECT_THROW(model.features(images, again), Error);

  Classifier classifier = model.classifier(1), alone(file);
  EXPECT_EQ(model.num_classes(), alone.num_classes());
  std::vector<float> logits(static_cast<std::size_t>(alone.num_classes())), wanted(logits.size());
  classifier.logits({images.data(), 1}, logits);
  alone.logits({images.data(), 1}, wanted);
  EXPECT_EQ(logits, wanted);
  std::vector<float> pixels(model.image_floats());
  model.load_image(images[0], pixels);
  EXPECT_EQ(pixels, alone.load_image(photo));
  EXPECT_THROW(Embedder(test::fixtures() / "towers/clip").classifier(), Error);
}

}  // namespace
}  // namespace igq
