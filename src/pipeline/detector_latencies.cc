#include "pipeline/detector_latencies.h"

namespace igq {

std::vector<Latency> measure_latencies(std::span<DetectorRunner* const> runners, const Image& picture,
                                       const BenchmarkOptions& options) {
  std::vector<std::function<void()>> passes;
  for (DetectorRunner* runner : runners)
    passes.emplace_back([&picture, &options, runner] {
      const float threshold = runner->detector().default_threshold();
      if (options.batch == 1)
        runner->detect(picture, threshold);
      else
        runner->detect_each(
            options.batch, threshold, [&](std::int64_t) { return picture; }, [](auto, auto) {});
    });
  return time_in_turn(options, passes);
}

}  // namespace igq
