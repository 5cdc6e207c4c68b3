#include "io/resize_float.h"

#include <algorithm>
#include <cmath>

namespace igq {
namespace {

struct Taps {
  int first = 0;
  std::vector<double> weights;
};

std::vector<Taps> taps_of(int from, int to) {
  const double scale = static_cast<double>(from) / to, support = std::max(scale, 1.0);
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (int i = 0; i < to; ++i) {
    Taps& taps = all[static_cast<std::size_t>(i)];
    const double centre = scale * (i + 0.5);
    taps.first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + support + 0.5), from);
    double total = 0.0;
    for (int j = taps.first; j < end; ++j) {
      taps.weights.push_back(std::max(0.0, 1.0 - std::abs((j - centre + 0.5) / support)));
      total += taps.weights.back();
    }
    for (double& w : taps.weights) w /= total;
  }
  return all;
}

}  // namespace

AlignedBuffer<float> resize_float(const Image& image, int width, int height) {
  const std::vector<Taps> columns = taps_of(image.width, width), rows = taps_of(image.height, height);
  const auto w = static_cast<std::size_t>(width), h = static_cast<std::size_t>(height);
  // Rows of the picture are shrunk to the width first, each once: [rows][3][width].
  AlignedBuffer<float> narrow(static_cast<std::size_t>(image.height) * 3 * w), out(3 * h * w);
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* from = image.row(y);
    float* to = narrow.data() + static_cast<std::size_t>(y) * 3 * w;
    for (std::size_t x = 0; x < w; ++x)
      for (std::size_t c = 0; c < 3; ++c) {
        double sum = 0.0;
        const std::uint8_t* pixel = from + 3 * columns[x].first + c;
        for (const double weight : columns[x].weights) {
          sum += weight * *pixel;
          pixel += 3;
        }
        to[c * w + x] = static_cast<float>(sum);
      }
  }
  std::vector<double> sums(w);
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < h; ++y) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::size_t i = 0; i < rows[y].weights.size(); ++i) {
        const float* from = narrow.data() + ((static_cast<std::size_t>(rows[y].first) + i) * 3 + c) * w;
        for (std::size_t x = 0; x < w; ++x) sums[x] += rows[y].weights[i] * static_cast<double>(from[x]);
      }
      for (std::size_t x = 0; x < w; ++x) out[(c * h + y) * w + x] = static_cast<float>(sums[x]);
    }
  return out;
}

}  // namespace igq
