// Resizing against Pillow and the whole preprocessing against timm, torchvision and transformers' rules, bit for bit.
#include "io/preprocess.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/fail.h"
#include "tests/io/image_fixtures.h"

namespace igq {
namespace {

using test::ImageFixtures;

PreprocessConfig config_of(const nlohmann::json& entry) {
  PreprocessConfig config;
  config.interpolation = parse_interpolation(entry.value("interpolation", "bicubic"));
  config.crop_pct = entry.value("crop_pct", config.crop_pct);
  config.crop_mode = parse_crop_mode(entry.value("crop_mode", "center"));
  config.mean = entry.value("mean", config.mean);
  config.std = entry.value("std", config.std);
  config.resize_height = entry.value("resize_height", 0);
  config.resize_width = entry.value("resize_width", 0);
  config.resize_short = entry.value("resize_short", 0);
  return config;
}

Image gradient(int width, int height) {
  Image image = detail::allocate_image(width, height, "gradient");
  for (std::size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<std::uint8_t>((i * i / 7 + 13 * i) % 256);
  return image;
}

TEST(Resize, EqualsPillow) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  ASSERT_GE(fixtures.manifest.at("resize").size(), 40U);
  for (const auto& entry : fixtures.manifest.at("resize")) {
    SCOPED_TRACE(entry.dump());
    const Image image = load_image(ImageFixtures::file(entry));
    const Image resized = resize(image, entry.at("width"), entry.at("height"),
                                 parse_interpolation(entry.at("interpolation").get<std::string>()));
    EXPECT_EQ(fixtures.difference(entry, resized), "");
  }
}

TEST(Resize, AWindowIsAPartOfTheWhole) {
  for (const auto& [w, h] : {std::pair{31, 20}, {20, 97}, {31, 97}, {64, 20}, {64, 97}, {3, 5}, {90, 11}}) {
    const Image image = gradient(31, 97);
    for (auto interpolation : {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kLanczos}) {
      const Image whole = resize(image, w, h, interpolation);
      const Window window{w / 3, h / 4, w / 2, h / 3};
      if (window.width == 0 || window.height == 0) continue;
      const Image part = resize_window(image, w, h, interpolation, window);
      for (int y = 0; y < window.height; ++y)
        for (int i = 0; i < 3 * window.width; ++i)
          ASSERT_EQ(part.row(y)[i], whole.row(window.top + y)[3 * window.left + i])
              << w << " x " << h << " at " << y << ", " << i;
    }
  }
}

TEST(Resize, SameSizeIsACopyAndConstantsStay) {
  const Image image = gradient(13, 7);
  EXPECT_EQ(resize(image, 13, 7, Interpolation::kLanczos).rgb, image.rgb);
  Image constant = detail::allocate_image(19, 23, "constant");
  std::fill(constant.rgb.begin(), constant.rgb.end(), std::uint8_t{200});
  for (auto interpolation : {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kBicubic,
                             Interpolation::kLanczos, Interpolation::kBox, Interpolation::kHamming})
    for (std::uint8_t value : resize(constant, 7, 40, interpolation).rgb) EXPECT_EQ(value, 200);
}

TEST(Resize, NamesGoBothWays) {
  for (auto interpolation : {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kBicubic,
                             Interpolation::kLanczos, Interpolation::kBox, Interpolation::kHamming})
    EXPECT_EQ(parse_interpolation(interpolation_name(interpolation)), interpolation);
  EXPECT_THROW(parse_interpolation("cubic"), Error);
  EXPECT_THROW(parse_crop_mode(""), Error);
}

TEST(Preprocess, EqualsTimmAndTransformers) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  ASSERT_GE(fixtures.manifest.at("preprocess").size(), 60U);
  for (const auto& entry : fixtures.manifest.at("preprocess")) {
    SCOPED_TRACE(entry.dump());
    const Image image = load_image(ImageFixtures::file(entry));
    EXPECT_EQ(
        fixtures.difference(entry, resize_and_crop(image, config_of(entry), entry.at("height"), entry.at("width"))),
        "");
  }
}

TEST(Preprocess, NormalizesAsTorch) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  for (const auto& entry : fixtures.manifest.at("normalize")) {
    Image ramp = detail::allocate_image(32, 8, "ramp");
    for (std::size_t i = 0; i < ramp.rgb.size(); ++i) ramp.rgb[i] = static_cast<std::uint8_t>(i / 3);
    std::vector<float> chw(ramp.rgb.size());
    normalize(ramp, config_of(entry), chw.data());
    // Equal in every bit, so bytes are compared.
    EXPECT_EQ(std::memcmp(chw.data(), fixtures.expected.data() + entry.at("offset").get<std::size_t>(), chw.size() * 4),
              0);
  }
}

TEST(Preprocess, FileErrorsNameTheFile) {
  std::vector<float> chw(3 * 16 * 16);
  PreprocessConfig config;
  try {
    preprocess_file(test::fixtures() / "images" / "truncated_half.jpg", config, 16, 16, chw.data());
    FAIL() << "a truncated file was read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("truncated_half.jpg"), std::string::npos);
  }
  config.std[1] = 0.0f;
  EXPECT_THROW(preprocess_file(test::fixtures() / "images" / "rgb8.png", config, 16, 16, chw.data()), Error);
}

TEST(Preprocess, RejectsSettingsAndImagesThatMakeNoSense) {
  const Image image = gradient(20, 10);
  PreprocessConfig config;
  for (double pct : {0.0, -1.0, 1e-12, 100.0, std::nan("")}) {
    config.crop_pct = pct;
    EXPECT_THROW(resize_and_crop(image, config, 16, 16), Error) << pct;
  }
  config.crop_pct = 0.9;
  config.resize_height = 20;
  EXPECT_THROW(resize_and_crop(image, config, 16, 16), Error);
  config.resize_height = 0;
  config.resize_short = -3;
  EXPECT_THROW(resize_and_crop(image, config, 16, 16), Error);
  config.resize_short = 0;
  config.crop_mode = CropMode::kBorder;
  EXPECT_THROW(resize_and_crop(gradient(1, 3000), config, 16, 16), Error);  // the width would vanish, in timm too
  config.crop_mode = CropMode::kCenter;
  EXPECT_EQ(resize_and_crop(gradient(1, 100000), config, 16, 16).width, 16);  // 1.8 million rows tall, never made
  EXPECT_THROW(resize_and_crop(gradient(1, 1 << 23), config, 224, 224), Error);
}

// The photographs and what timm made of them, when the data beside the project is there.
TEST(Preprocess, EqualsTimmOnPhotos) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  const auto folder = shared / "data" / "photos_expected";
  std::ifstream file(folder / "manifest.json");
  ASSERT_TRUE(file) << folder;
  const nlohmann::json manifest = nlohmann::json::parse(file);
  ASSERT_FALSE(manifest.empty());
  for (const auto& entry : manifest) {
    SCOPED_TRACE(entry.dump());
    const Image photo = load_image(shared / "data" / "photos" / entry.at("photo").get<std::string>());
    const Image expected = load_image(folder / entry.at("expected").get<std::string>());
    PreprocessConfig config = config_of(entry);
    const int size = entry.at("input_size");
    const Image got = resize_and_crop(photo, config, size, size);
    ASSERT_EQ(got.width, expected.width);
    EXPECT_EQ(got.rgb, expected.rgb);
  }
}

}  // namespace
}  // namespace igq
