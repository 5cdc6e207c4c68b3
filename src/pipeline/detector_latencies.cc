#include "pipeline/detector_latencies.h"

namespace igq {

std::vector<Latency> measure_latencies(std::span<DetectorRunner* const> runners, const Image& picture,
                                       const BenchmarkOptions& options) {
  std::vector<std::function<void()>> passes;
  for (DetectorRunner* runner : runners)
    passes.emplace_back([&picture, runner] { runner->detect(picture, runner->detector().default_threshold()); });
  return time_in_turn(options, passes);
}

}  // namespace igq
