// Resizing of Swin's bias tables where the result is known without an oracle; fixtures swin_bias* compare with timm.
#include <gtest/gtest.h>

#include <vector>

#include "models/relative_bias.h"

namespace igq {
namespace {

/// A table that holds f(dy, dx) + 100 * head.
template <typename F>
std::vector<float> table_of(int window, int heads, F&& f) {
  std::vector<float> table;
  for (int dy = 1 - window; dy < window; ++dy)
    for (int dx = 1 - window; dx < window; ++dx)
      for (int head = 0; head < heads; ++head) table.push_back(f(dy, dx) + 100.0f * static_cast<float>(head));
  return table;
}

TEST(RelativeBias, KeepsCentreCornersAndSymmetry) {
  const auto table = table_of(4, 3, [](int dy, int dx) { return static_cast<float>(dy * dy + 2 * dx * dx); });
  const auto resized = resize_relative_bias(table, 3, 4, {7, 9});
  ASSERT_EQ(resized.size(), 13u * 17u * 3u);
  const auto at = [&](int dy, int dx, int head) {
    return resized[static_cast<std::size_t>(((dy + 6) * 17 + dx + 8) * 3 + head)];
  };
  for (int head = 0; head < 3; ++head) {
    EXPECT_EQ(at(0, 0, head), 100.0f * static_cast<float>(head));
    EXPECT_NEAR(at(1, -1, head), 3.0f + 100.0f * static_cast<float>(head), 1e-4f);  // the nearest offsets stay in place
    EXPECT_NEAR(at(6, 8, head), 27.0f + 100.0f * static_cast<float>(head), 1e-3f);  // the farthest reach the border
    for (int dy = -6; dy <= 6; ++dy)
      for (int dx = -8; dx <= 8; ++dx) EXPECT_NEAR(at(dy, dx, head), at(-dy, -dx, head), 1e-4f);
  }
}

TEST(RelativeBias, ConstantStaysConstantForEveryWindow) {
  for (int from = 1; from <= 8; ++from)
    for (int to = 1; to <= 8; ++to)
      for (const float v :
           resize_relative_bias(table_of(from, 1, [](int, int) { return 0.25f; }), 1, from, {to, 9 - to})) {
        ASSERT_FLOAT_EQ(v, 0.25f);
      }
}

}  // namespace
}  // namespace igq
