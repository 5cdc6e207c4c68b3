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

std::vector<Latency> measure_latencies(std::span<Runner* const> runners, const BenchmarkOptions& options) {
  std::vector<std::function<void()>> passes;
  AlignedBuffer<float> images;
  std::vector<AlignedBuffer<float>> outputs(runners.size());
  for (std::size_t i = 0; i < runners.size(); ++i) {
    const ModelConfig& config = runners[i]->model().config();
    if (images.empty()) images = synthetic_images(config, options.batch, options.seed);
    outputs[i].resize(static_cast<std::size_t>(options.batch) * static_cast<std::size_t>(output_width(config)));
    passes.emplace_back([&images, &options, runner = runners[i], to = outputs[i].data()] {
      runner->run_batch(images.data(), options.batch, to);
    });
  }
  return time_in_turn(options, passes);
}

namespace {

Latency latency_of(std::vector<double> ms, int batch) {
  std::sort(ms.begin(), ms.end());
  Latency latency;
  latency.passes = static_cast<std::int64_t>(ms.size());
  latency.median_ms = (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2.0;
  latency.min_ms = ms.front();
  latency.p95_ms = ms[static_cast<std::size_t>(std::ceil(0.95 * static_cast<double>(ms.size()))) - 1];
  latency.images_per_s = 1e3 * batch / latency.median_ms;
  return latency;
}

}  // namespace

std::vector<Latency> time_in_turn(const BenchmarkOptions& options, std::span<const std::function<void()>> passes) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < options.warmup; ++i)
    for (const auto& pass : passes) pass();
  std::vector<std::vector<double>> ms(passes.size());
  const auto begin = Clock::now();
  const std::chrono::duration<double> least(options.min_seconds * static_cast<double>(passes.size()));
  for (int round = 0; round < std::max(options.min_passes, 1) || Clock::now() - begin < least; ++round)
    for (std::size_t i = 0; i < passes.size(); ++i) {
      const auto start = Clock::now();
      passes[i]();
      ms[i].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  std::vector<Latency> result;
  for (std::vector<double>& times : ms) result.push_back(latency_of(std::move(times), options.batch));
  return result;
}

double peak_rss_mb() { return platform::peak_resident_bytes() / 1e6; }

}  // namespace igq
