// Latency of a model: passes over synthetic images until enough of them were timed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/runner.h"

namespace igq {

struct BenchmarkOptions {
  int batch = 1;
  int warmup = 3;  ///< passes before the timed ones
  int min_passes = 10;
  double min_seconds = 2.0;  ///< of timed passes, at least min_passes
  std::uint64_t seed = 0;    ///< of the images
};

/// A few passes, for a first impression.
inline BenchmarkOptions quick_benchmark() { return {.warmup = 1, .min_passes = 3, .min_seconds = 0.3}; }

struct Latency {
  double median_ms = 0.0, min_ms = 0.0, p95_ms = 0.0;  ///< of one pass over the whole batch
  double images_per_s = 0.0;                           ///< from the median
  std::int64_t passes = 0;
};

/// Times calls of each of `passes`, over options.batch images, one after the other in turn, so that a machine that is
/// busy for a while slows all of them: their ratios then mean more than their times.
std::vector<Latency> time_in_turn(const BenchmarkOptions& options, std::span<const std::function<void()>> passes);
/// Whole batches on each of the runners in turn.
std::vector<Latency> measure_latencies(std::span<Runner* const> runners, const BenchmarkOptions& options);

/// `count` normalised synthetic images: smooth random waves plus noise, so that tokens differ as in photographs.
AlignedBuffer<float> synthetic_images(const ModelConfig& config, std::int64_t count, std::uint64_t seed);

/// Largest resident memory of the process so far in MB (10^6 bytes).
double peak_rss_mb();

}  // namespace igq
