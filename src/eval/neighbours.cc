#include "eval/neighbours.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/normalize_rows.h"

namespace igq {
namespace {

/// The `k` nearest others of row `i`, nearest first; the lower index of equals first.
std::vector<NearImage> nearest(const std::vector<float>& unit, std::size_t width, std::size_t i, std::size_t k) {
  const std::size_t count = unit.size() / width;
  std::vector<float> likeness(count);
  for (std::size_t j = 0; j < count; ++j) {
    float lanes[8] = {};  // a fixed order of additions that compilers turn into vector code
    const float *a = unit.data() + i * width, *b = unit.data() + j * width;
    std::size_t c = 0;
    for (; c + 8 <= width; c += 8)
      for (std::size_t l = 0; l < 8; ++l) lanes[l] += a[c + l] * b[c + l];
    for (; c < width; ++c) lanes[0] += a[c] * b[c];
    likeness[j] = std::accumulate(lanes, lanes + 8, 0.0f);
  }
  likeness[i] = -2.0f;
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
      [&](std::size_t x, std::size_t y) { return likeness[x] != likeness[y] ? likeness[x] > likeness[y] : x < y; });
  std::vector<NearImage> result;
  for (std::size_t n = 0; n < k; ++n) result.push_back({order[n], static_cast<double>(likeness[order[n]])});
  return result;
}

}  // namespace

std::vector<std::vector<NearImage>> nearest_images(std::span<const float> vectors, std::size_t width, std::size_t k) {
  std::vector<float> unit(vectors.begin(), vectors.end());
  normalize_rows(unit, width);
  std::vector<std::vector<NearImage>> all;
  for (std::size_t i = 0; i < unit.size() / width; ++i) all.push_back(nearest(unit, width, i, k));
  return all;
}

NeighbourRecall neighbour_recall(std::span<const float> reference, std::span<const float> test, std::size_t width) {
  NeighbourRecall recall;
  const std::size_t count = width == 0 ? 0 : reference.size() / width;
  if (count < 2 || test.size() != reference.size()) return recall;
  const std::size_t k = std::min<std::size_t>(10, count - 1);
  const auto a = nearest_images(reference, width, k), b = nearest_images(test, width, k);
  std::size_t first = 0, shared = 0;
  for (std::size_t i = 0; i < count; ++i) {
    first += a[i].front().image == b[i].front().image;
    for (const NearImage& x : a[i])
      shared += std::any_of(b[i].begin(), b[i].end(), [&](const NearImage& y) { return x.image == y.image; });
  }
  recall.images = static_cast<std::int64_t>(count);
  recall.at1 = static_cast<double>(first) / static_cast<double>(count);
  recall.at10 = static_cast<double>(shared) / static_cast<double>(count * k);
  return recall;
}

}  // namespace igq
