// Run lengths: any text is a mask that survives every round trip, or an Error; polygons are those of a walk along every
// edge in unit steps, as pycocotools draws them. The first byte chooses which, the next two are height and width.
#include <algorithm>
#include <cmath>
#include <vector>

#include "detection/rle.h"
#include "fuzz/fuzz.h"

namespace {

using namespace igq;
using detection::Rle;

void check_text(std::string_view text, int height, int width) {
  const Rle rle = detection::rle_from_text(text, height, width, "text");
  const std::vector<std::uint8_t> mask = detection::rle_to_mask(rle);
  if (detection::rle_from_mask(mask, height, width) != rle && rle.counts.size() > 1) std::abort();
  if (static_cast<std::uint64_t>(std::count(mask.begin(), mask.end(), 1)) != detection::rle_area(rle)) std::abort();
  if (detection::rle_from_text(detection::rle_to_text(rle), height, width, "text") != rle) std::abort();
  const std::vector<Rle> twice = {rle, rle};
  if (detection::rle_area(detection::rle_union(twice)) != detection::rle_area(rle)) std::abort();
  if (detection::rle_area(rle) > 0 && detection::rle_iou(rle, rle, false) != 1.0) std::abort();
}

/// The columns where the outline passes from one to the next, by walking it step by step.
std::vector<std::uint32_t> walked(const std::vector<double>& xy, int height, int width) {
  std::vector<int> us, vs;
  const std::size_t corners = xy.size() / 2;
  const auto fine = [&](std::size_t i) { return static_cast<int>(5 * xy[i % xy.size()] + .5); };
  for (std::size_t j = 0; j < corners; ++j) {
    int xs = fine(2 * j), ys = fine(2 * j + 1), xe = fine(2 * j + 2), ye = fine(2 * j + 3);
    const int dx = std::abs(xe - xs), dy = std::abs(ye - ys), steps = std::max(dx, dy);
    const bool flip = dx >= dy ? xs > xe : ys > ye;
    if (flip) {
      std::swap(xs, xe);
      std::swap(ys, ye);
    }
    const double slope = steps == 0 ? 0.0
                         : dx >= dy ? static_cast<double>(ye - ys) / dx
                                    : static_cast<double>(xe - xs) / dy;
    for (int d = 0; d <= steps; ++d) {
      const int t = flip ? steps - d : d;
      us.push_back(dx >= dy ? t + xs : static_cast<int>(xs + slope * t + .5));
      vs.push_back(dx >= dy ? static_cast<int>(ys + slope * t + .5) : t + ys);
    }
  }
  std::vector<std::uint32_t> places;
  for (std::size_t j = 1; j < us.size(); ++j) {
    if (us[j] == us[j - 1]) continue;
    const double x = (std::min(us[j], us[j] < us[j - 1] ? us[j] : us[j] - 1) + .5) / 5 - .5;
    if (std::floor(x) != x || x < 0 || x > width - 1) continue;
    const double y = (std::min(vs[j], vs[j - 1]) + .5) / 5 - .5;
    places.push_back(static_cast<std::uint32_t>(x) * height +
                     static_cast<std::uint32_t>(std::ceil(std::clamp(y, 0.0, static_cast<double>(height)))));
  }
  std::sort(places.begin(), places.end());
  return places;
}

void check_polygon(fuzz::Bytes bytes, int height, int width) {
  std::vector<double> xy;
  for (int n = 2 * (3 + bytes.below(6)); n > 0; --n) {
    const int kind = bytes.byte() % 4;
    const int v = bytes.below(1 << 16) - (1 << 14);
    xy.push_back(kind == 0 ? v / 256.0 : kind == 1 ? v / 500.0 : kind == 2 ? v / 5120 : v / 10.0);
  }
  const Rle rle = detection::rle_from_polygon(xy, height, width, "polygon");
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(height) * static_cast<std::size_t>(width), 0);
  const auto places = walked(xy, height, width);
  bool inside = false;
  std::size_t next = 0;
  for (std::uint32_t p = 0; p < expected.size(); ++p) {
    for (; next < places.size() && places[next] == p; ++next) inside = !inside;
    if (inside) expected[p % height * static_cast<std::size_t>(width) + p / height] = 1;
  }
  if (detection::rle_to_mask(rle) != expected) std::abort();
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  const bool polygon = bytes.byte() % 2 != 0;
  const int height = 1 + bytes.byte() % 64, width = 1 + bytes.byte() % 64;
  fuzz::expect_error_or_success([&] {
    if (polygon)
      check_polygon(bytes, height, width);
    else
      check_text(bytes.rest(), height, width);
  });
  return 0;
}
