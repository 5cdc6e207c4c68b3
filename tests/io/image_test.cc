// Decoding against Pillow's bytes, and every kind of damage.
#include "io/image.h"

#include <gtest/gtest.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/random.h"
#include "tests/io/image_fixtures.h"

namespace igq {
namespace {

using test::ImageFixtures;

std::string error_of(const std::filesystem::path& path) {
  try {
    load_image(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Image, DecodesAsPillow) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  ASSERT_GE(fixtures.manifest.at("decode").size(), 40U);
  for (const auto& entry : fixtures.manifest.at("decode")) {
    SCOPED_TRACE(entry.dump());
    EXPECT_EQ(fixtures.difference(entry, load_image(ImageFixtures::file(entry))), "");
  }
}

TEST(Image, BadFilesAreErrorsThatNameTheFile) {
  for (const auto& entry : ImageFixtures::get().manifest.at("bad")) {
    SCOPED_TRACE(entry.dump());
    const std::string error = error_of(ImageFixtures::file(entry));
    EXPECT_NE(error.find(entry.at("file").get<std::string>()), std::string::npos) << error;
    EXPECT_NE(error.find(entry.at("says").get<std::string>()), std::string::npos) << error;
  }
  EXPECT_NE(error_of(test::fixtures() / "images" / "none.png").find("none.png"), std::string::npos);
  EXPECT_NE(error_of(test::fixtures() / "images"), "");
}

// A truncated picture is never decoded in part. Only a JPEG whose two bytes of end marker are missing may still decode,
// as in Pillow, and then to the whole picture.
TEST(Image, TruncatedFilesAreNeverDecodedInPart) {
  for (const char* name : {"ycc_420.jpg", "ycc_422_progressive.jpg", "gray.jpg", "cmyk.jpg", "rgba8.png",
                           "palette4.png", "gray16_interlaced.png", "ycc_420_1x1.jpg"}) {
    SCOPED_TRACE(name);
    const std::string bytes = read_file(test::fixtures() / "images" / name);
    const auto all = std::as_bytes(std::span(bytes));
    const Image whole = decode_image(all, name);
    for (std::size_t size = 0; size < all.size(); ++size) {
      try {
        const Image image = decode_image(all.first(size), name);
        EXPECT_TRUE(bytes.starts_with("\xFF\xD8") && size + 2 >= all.size())
            << size << " of " << all.size() << " bytes";
        EXPECT_EQ(image.rgb, whole.rgb);
      } catch (const Error&) {
      }
    }
  }
}

// Whatever the bytes: an image or an Error. (Under the sanitizers this is a small fuzzer.)
TEST(Image, MutatedFilesDecodeOrFail) {
  Random random(7);
  std::size_t decoded = 0, failed = 0;
  for (const auto& entry : ImageFixtures::get().manifest.at("decode")) {
    const std::string original = read_file(ImageFixtures::file(entry));
    for (int round = 0; round < 60; ++round) {
      std::string bytes = original;
      for (std::uint64_t change = 0, changes = 1 + random.below(4); change < changes; ++change) {
        char& byte = bytes[random.below(bytes.size())];
        byte = random.below(2) == 0 ? static_cast<char>(random.below(256))
                                    : static_cast<char>(byte ^ (1 << random.below(8)));
      }
      if (random.below(8) == 0) bytes.resize(random.below(bytes.size()) + 1);
      try {
        const Image image = decode_image(std::as_bytes(std::span(bytes)), "mutated");
        EXPECT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
        ++decoded;
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find("mutated: "), 0U) << error.what();
        ++failed;
      }
    }
  }
  EXPECT_GT(decoded, 0U);
  EXPECT_GT(failed, 0U);
}

}  // namespace
}  // namespace igq
