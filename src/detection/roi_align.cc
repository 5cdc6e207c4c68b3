#include "detection/roi_align.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

namespace igq::detection {
namespace {

/// Where a sample lies on one axis: cells low and high and their weights. Outside the map there is none.
struct Sample {
  int low = 0, high = 0;
  float weight_low = 0.0f, weight_high = 0.0f;
  bool inside = false;
};

Sample sample_at(float position, int size) {
  if (position < -1.0f || position > static_cast<float>(size)) return {};
  position = std::max(position, 0.0f);
  int low = static_cast<int>(position), high = low + 1;
  if (low >= size - 1) {
    low = high = size - 1;
    position = static_cast<float>(low);
  }
  const float fraction = position - static_cast<float>(low);
  return {low, high, 1.0f - fraction, fraction, true};
}

/// One axis of the box: `samples` of them in each bin.
struct BinnedAxis {
  float start, bin;
  int samples, size;

  BinnedAxis(float low, float high, float scale, int bins, int cells) : size(cells) {
    start = low * scale - 0.5f;
    const float length = high * scale - 0.5f - start;
    bin = length / static_cast<float>(bins);
    samples = std::max(static_cast<int>(std::ceil(bin)), 0);
  }
  Sample sample(int b, int i) const {
    return sample_at(
        start + static_cast<float>(b) * bin + (static_cast<float>(i) + 0.5f) * bin / static_cast<float>(samples), size);
  }
};

constexpr float kMostCells = 1 << 20;

bool usable(const Box& roi, float scale) {
  for (const float v : {roi.x1, roi.y1, roi.x2, roi.y2})
    if (!(std::fabs(v * scale) < kMostCells)) return false;
  return true;
}

/// out[c] += the four cells' channels, weighted, in mmcv's order.
void add_sample(const FeatureMap& map, const Sample& y, const Sample& x, float* __restrict out) {
  const std::ptrdiff_t channels = map.channels, row = map.width * channels;
  const float* __restrict a = map.data + y.low * row + x.low * channels;
  const float* __restrict b = map.data + y.low * row + x.high * channels;
  const float* __restrict c = map.data + y.high * row + x.low * channels;
  const float* __restrict d = map.data + y.high * row + x.high * channels;
  const float wa = y.weight_low * x.weight_low, wb = y.weight_low * x.weight_high;
  const float wc = y.weight_high * x.weight_low, wd = y.weight_high * x.weight_high;
  for (std::ptrdiff_t i = 0; i < channels; ++i) out[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
}

}  // namespace

int roi_level(const Box& roi, float finest_scale, int levels) noexcept {
  const float level = std::floor(std::log2(std::sqrt(roi.width() * roi.height()) / finest_scale + 1e-6f));
  if (!(level > 0.0f)) return 0;
  return level < static_cast<float>(levels - 1) ? static_cast<int>(level) : levels - 1;
}

void roi_align(const FeatureMap& map, float scale, const Box& roi, int bins, float* out) noexcept {
  assert(map.height > 0 && map.width > 0 && bins > 0);
  const std::ptrdiff_t channels = map.channels;
  std::fill(out, out + bins * bins * channels, 0.0f);
  if (!usable(roi, scale)) return;
  const BinnedAxis ys(roi.y1, roi.y2, scale, bins, map.height), xs(roi.x1, roi.x2, scale, bins, map.width);
  const float count = std::max(static_cast<float>(ys.samples) * static_cast<float>(xs.samples), 1.0f);
  for (int by = 0; by < bins; ++by) {
    for (int bx = 0; bx < bins; ++bx, out += channels) {
      for (int iy = 0; iy < ys.samples; ++iy) {
        const Sample y = ys.sample(by, iy);
        if (!y.inside) continue;
        for (int ix = 0; ix < xs.samples; ++ix) {
          const Sample x = xs.sample(bx, ix);
          if (x.inside) add_sample(map, y, x, out);
        }
      }
      for (std::ptrdiff_t i = 0; i < channels; ++i) out[i] /= count;
    }
  }
}

}  // namespace igq::detection
