// Decoding against Pillow's bytes, and every kind of damage.
#include "io/image.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/random.h"
#include "tests/io/image_fixtures.h"

namespace igq {
namespace {

using test::ImageFixtures;

std::string image_error(const std::filesystem::path& path) {
  return test::error_text([&] { load_image(path); });
}

TEST(Image, DecodesAsPillow) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  ASSERT_GE(fixtures.manifest.at("decode").size(), 110U);
  for (const auto& entry : fixtures.manifest.at("decode")) {
    SCOPED_TRACE(entry.dump());
    EXPECT_EQ(fixtures.difference(entry, load_image(ImageFixtures::file(entry))), "");
  }
}

// As PIL.ImageOps.exif_transpose: EXIF of either byte order, XMP, and what ImageMagick writes into a PNG.
TEST(Image, TurnsUprightAsPillow) {
  const ImageFixtures& fixtures = ImageFixtures::get();
  ASSERT_GE(fixtures.manifest.at("upright").size(), 16U);
  for (const auto& entry : fixtures.manifest.at("upright")) {
    SCOPED_TRACE(entry.dump());
    EXPECT_EQ(fixtures.difference(entry, load_image(ImageFixtures::file(entry), Orientation::kExif)), "");
  }
  const auto turned = ImageFixtures::get().manifest.at("upright").at(5);
  EXPECT_NE(fixtures.difference(turned, load_image(ImageFixtures::file(turned))), "");  // ignored unless asked for
}

TEST(Image, BadFilesAreErrorsThatNameTheFile) {
  for (const auto& entry : ImageFixtures::get().manifest.at("bad")) {
    SCOPED_TRACE(entry.dump());
    const std::string error = image_error(ImageFixtures::file(entry));
    EXPECT_NE(error.find(entry.at("file").get<std::string>()), std::string::npos) << error;
    EXPECT_NE(error.find(entry.at("says").get<std::string>()), std::string::npos) << error;
  }
  EXPECT_NE(image_error(test::fixtures() / "images" / "none.png").find("none.png"), std::string::npos);
  EXPECT_NE(image_error(test::fixtures() / "images"), "");
}

// A truncated picture is never decoded in part. What may be missing, as in Pillow: the two bytes of a JPEG's end
// marker, the last codes that stand for no pixel, two checksums and the end chunk of a PNG, the end of a GIF, the
// padding of a BMP's last row.
TEST(Image, TruncatedFilesAreNeverDecodedInPart) {
  for (const char* name : {"ycc_420.jpg", "ycc_422_progressive.jpg", "gray.jpg", "cmyk.jpg", "rgba8.png",
                           "palette4.png", "gray16_interlaced.png", "ycc_420_1x1.jpg", "plain.gif", "lossy.webp",
                           "alpha_lossless.webp", "rgb24.bmp", "runs8.bmp", "rgb_lzw.tif", "tiles.tif"}) {
    SCOPED_TRACE(name);
    const std::string bytes = read_file(test::fixtures() / "images" / name);
    const auto all = std::as_bytes(std::span(bytes));
    const Image whole = decode_image(all, name);
    for (std::size_t size = 0; size < all.size(); ++size) {
      try {
        const Image image = decode_image(all.first(size), name);
        const std::size_t missing = all.size() - size;
        EXPECT_LE(missing, bytes.starts_with("\x89PNG") ? 24U : 3U) << size << " of " << all.size() << " bytes";
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
    for (int round = 0; round < 25; ++round) {
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

struct JpegKind {
  bool arithmetic = false, progressive = false;
  int components = 1;
};

/// A picture of one gray, as small as a JPEG can be.
std::string flat_jpeg(int width, int height, const JpegKind& kind) {
  jpeg_compress_struct info{};
  jpeg_error_mgr error{};
  info.err = jpeg_std_error(&error);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = kind.components;
  info.in_color_space = kind.components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  info.arith_code = kind.arithmetic ? TRUE : FALSE;
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(width) * static_cast<std::size_t>(kind.components), 128);
  for (JSAMPROW at = row.data(); info.next_scanline < info.image_height;) jpeg_write_scanlines(&info, &at, 1);
  jpeg_finish_compress(&info);
  std::string out(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return out;
}

std::string decode_error(const std::string& bytes) {
  try {
    decode_image(std::as_bytes(std::span(bytes)), "x");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Arithmetic code can say "all the same" in some hundred bytes, and a decoder goes on with zeros where it ends.
TEST(Image, AFileTooShortForTheSizeItClaimsIsTruncated) {
  const std::string truncated = "x: truncated JPEG image: the file ends before the picture does; fetch it again";
  const std::string end("\xff\xd9", 2);
  for (const int components : {1, 3}) {
    const std::string small = flat_jpeg(1000, 1000, {true, false, components});
    EXPECT_EQ(decode_error(small), "") << "small pictures are read from however few bytes";
    const std::string arithmetic = flat_jpeg(2048, 2048, {true, false, components});
    ASSERT_LT(arithmetic.size(), 3000u);
    EXPECT_EQ(decode_error(arithmetic), truncated);
    // Sound ones of one colour are the shortest there are; cut, with an end marker put behind, they claim too much.
    for (const bool progressive : {false, true}) {
      const std::string sound = flat_jpeg(2048, 2048, {false, progressive, components});
      EXPECT_EQ(decode_error(sound), "") << sound.size() << " bytes";
      EXPECT_EQ(decode_error(sound.substr(0, 4000) + end), truncated);
    }
  }
}

TEST(Image, ScansOfALargePictureAreLimited) {
  // 2^18 blocks: 256 scans. The last scan of a sound file, over and over.
  const std::string sound = flat_jpeg(4096, 4096, {false, true, 1});
  EXPECT_EQ(decode_error(sound), "");
  const std::size_t last = sound.rfind("\xff\xda");
  const std::string scan = sound.substr(last, sound.size() - last - 2);
  std::string bytes = sound.substr(0, sound.size() - 2);
  for (int i = 0; i < 260; ++i) bytes += scan;
  const std::string error = decode_error(bytes + "\xff\xd9");
  EXPECT_EQ(error, "x: damaged JPEG image: more than 256 scans");
}

TEST(Image, ASideBeyondAllIsRefusedBeforeDecoding) {
  EXPECT_NO_THROW(detail::check_size(kMaxImageSide, 1, "x"));
  EXPECT_NO_THROW(detail::check_size(1, kMaxImageSide, "x"));
  for (const std::int64_t side : {kMaxImageSide + 1, kMaxImagePixels}) {
    EXPECT_THROW(detail::check_size(side, 1, "x"), Error);
    EXPECT_THROW(detail::check_size(1, side, "x"), Error);
  }
}

}  // namespace
}  // namespace igq
