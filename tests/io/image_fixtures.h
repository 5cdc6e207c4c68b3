// tests/fixtures/images as tools/make_image_fixtures.py made it: manifest.json and the bytes its entries point into.
#pragma once

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/image.h"
#include "tests/test_util.h"

namespace igq::test {

struct ImageFixtures {
  nlohmann::json manifest;
  std::string expected;

  static const ImageFixtures& get() {
    static const ImageFixtures fixtures_once;
    return fixtures_once;
  }
  static std::filesystem::path file(const nlohmann::json& entry) {
    return fixtures() / "images" / entry.at("file").get<std::string>();
  }
  /// Whether the expected bytes of `entry` are those of `image`; the first difference as text otherwise.
  std::string difference(const nlohmann::json& entry, const Image& image) const {
    const std::size_t offset = entry.at("offset");
    if (image.width != entry.at("width") || image.height != entry.at("height")) return "another size";
    if (offset + image.rgb.size() > expected.size()) return "expected.bin is too short";
    for (std::size_t i = 0; i < image.rgb.size(); ++i) {
      const int want = static_cast<unsigned char>(expected[offset + i]);
      if (image.rgb[i] != want)
        return "pixel " + std::to_string(i / 3) + " is " + std::to_string(image.rgb[i]) + ", not " +
               std::to_string(want);
    }
    return "";
  }

 private:
  ImageFixtures() {
    std::ifstream json(fixtures() / "images" / "manifest.json");
    manifest = nlohmann::json::parse(json);
    std::ifstream bytes(fixtures() / "images" / "expected.bin", std::ios::binary);
    expected.assign(std::istreambuf_iterator<char>(bytes), {});
  }
};

}  // namespace igq::test
