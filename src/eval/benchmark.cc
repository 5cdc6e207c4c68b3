#include "eval/benchmark.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "base/platform.h"
#include "base/random.h"

namespace igq {

AlignedBuffer<float> synthetic_images(const ModelConfig& config, std::int64_t count, std::uint64_t seed) {
  constexpr int kWaves = 6;
  const int height = config.image_height, width = config.image_width;
  AlignedBuffer<float> images(static_cast<std::size_t>(count * config.in_channels) * static_cast<std::size_t>(height) *
                              static_cast<std::size_t>(width));
  Random random(seed ^ 0x5D1C9E7ULL);
  float* out = images.data();
  for (std::int64_t plane = 0; plane < count * config.in_channels; ++plane) {
    struct Wave {
      double x, y, phase, amplitude;
    } waves[kWaves];
    for (Wave& w : waves)
      w = {random.normal() * 3.0 / width, random.normal() * 3.0 / height, random.uniform() * 2.0 * std::numbers::pi,
           0.5 * random.normal()};
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        double value = 0.2 * (random.uniform() - 0.5);
        for (const Wave& w : waves)
          value += w.amplitude * std::sin(2.0 * std::numbers::pi * (w.x * x + w.y * y) + w.phase);
        *out++ = static_cast<float>(std::clamp(value, -2.2, 2.6));
      }
  }
  return images;
}

Latency measure_latency(Runner& runner, const BenchmarkOptions& options) {
  const ModelConfig& config = runner.model().config();
  const AlignedBuffer<float> images = synthetic_images(config, options.batch, options.seed);
  AlignedBuffer<float> logits(static_cast<std::size_t>(options.batch) * static_cast<std::size_t>(output_width(config)));
  return time_passes(options, [&] { runner.run_batch(images.data(), options.batch, logits.data()); });
}

Latency time_passes(const BenchmarkOptions& options, const std::function<void()>& pass) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < options.warmup; ++i) pass();
  std::vector<double> ms;
  double total = 0.0;
  while (static_cast<int>(ms.size()) < std::max(options.min_passes, 1) || total < options.min_seconds * 1e3) {
    const auto start = Clock::now();
    pass();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    total += ms.back();
  }
  std::sort(ms.begin(), ms.end());
  Latency latency;
  latency.passes = static_cast<std::int64_t>(ms.size());
  latency.median_ms = (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2.0;
  latency.min_ms = ms.front();
  latency.p95_ms = ms[static_cast<std::size_t>(std::ceil(0.95 * static_cast<double>(ms.size()))) - 1];
  latency.images_per_s = 1e3 * options.batch / latency.median_ms;
  return latency;
}

double peak_rss_mb() { return platform::peak_resident_bytes() / 1e6; }

}  // namespace igq
