// What measure_latencies() (eval/benchmark.h) is for classifiers, for detectors.
#pragma once

#include <span>
#include <vector>

#include "detectors/detector_runner.h"
#include "eval/benchmark.h"

namespace igq {

/// Times all of detect() on one picture, each of the runners in turn, at the detectors' own thresholds. options.batch
/// above 1: so many times the picture, a whole one on each thread.
std::vector<Latency> measure_latencies(std::span<DetectorRunner* const> runners, const Image& picture,
                                       const BenchmarkOptions& options);

}  // namespace igq
