// Views of calibration images.
#include "calibration/views.h"

#include <gtest/gtest.h>
#include <vector>

namespace igq {
namespace {

TEST(Views, MirrorAndShift) {
  const int height = 16, width = 32;
  std::vector<float> image(static_cast<std::size_t>(2 * height * width)), out(image.size());
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i);
  auto at = [&](const std::vector<float>& x, int c, int y, int col) {
    return x[static_cast<std::size_t>((c * height + y) * width + col)];
  };
  make_view(image, 2, height, width, 0, out.data());
  EXPECT_EQ(out, image);
  make_view(image, 2, height, width, 1, out.data());
  EXPECT_EQ(at(out, 1, 3, 0), at(image, 1, 3, width - 1));
  EXPECT_EQ(at(out, 1, 3, 7), at(image, 1, 3, width - 8));
  make_view(image, 2, height, width, 2, out.data());  // one row down, two columns on
  EXPECT_EQ(at(out, 0, 4, 5), at(image, 0, 5, 7));
  EXPECT_EQ(at(out, 0, height - 1, width - 1), at(image, 0, height - 1, width - 1));
  std::vector<std::vector<float>> all;
  for (int view = 0; view < kMaxViews; ++view) {
    make_view(image, 2, height, width, view, out.data());
    for (const auto& other : all) EXPECT_NE(out, other);
    all.push_back(out);
  }
}

}  // namespace
}  // namespace igq
