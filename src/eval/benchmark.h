// Latency of a model: passes over synthetic images until enough of them were timed.
#pragma once

#include <cstdint>
#include <functional>

#include "models/runner.h"

namespace igq {

struct BenchmarkOptions {
  int batch = 1;
  int warmup = 3;  ///< passes before the timed ones
  int min_passes = 10;
  double min_seconds = 2.0;  ///< of timed passes, at least min_passes
  std::uint64_t seed = 0;    ///< of the images
};

struct Latency {
  double median_ms = 0.0, min_ms = 0.0, p95_ms = 0.0;  ///< of one pass over the whole batch
  double images_per_s = 0.0;                           ///< from the median
  std::int64_t passes = 0;
};

/// Times calls of `pass`, each over options.batch images.
Latency time_passes(const BenchmarkOptions& options, const std::function<void()>& pass);
Latency measure_latency(Runner& runner, const BenchmarkOptions& options);

/// `count` normalised synthetic images: smooth random waves plus noise, so that tokens differ as in photographs.
AlignedBuffer<float> synthetic_images(const ModelConfig& config, std::int64_t count, std::uint64_t seed);

/// Largest resident memory of the process so far in MB (10^6 bytes).
double peak_rss_mb();

}  // namespace igq
