// What the tests of the public API load.
#pragma once

#include <igq/igq.h>

#include <filesystem>
#include <vector>

#include "tests/test_util.h"

namespace igq::test {

/// Even: integers from an .igq file. Odd: a checkpoint in float.
inline std::filesystem::path model(int which) {
  return fixtures() / (which % 2 == 0 ? "igq/v1.igq" : "models/vit_token");
}
inline std::filesystem::path image() { return fixtures() / "images/rgb.jpg"; }

/// Of the image.
inline std::vector<float> logits(Classifier& classifier) {
  const std::vector<float> pixels = classifier.load_image(image());
  const auto values = classifier.logits(pixels);
  return {values.begin(), values.end()};
}

}  // namespace igq::test
