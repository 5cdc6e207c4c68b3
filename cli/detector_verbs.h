// What inspect, compare and bench do with detectors.
#pragma once

#include <cstdint>
#include <string>

#include "common.h"
#include "eval/benchmark.h"
#include "quantize_flags.h"
#include "speed.h"

namespace igq::cli {

/// igq inspect: sites, plan and where it came from.
void inspect_detector(const ModelFlags& model, bool json);

struct CompareDetectorsFlags {
  std::string other, data_dir;
  std::int64_t limit = 0;
  int alone_images = 8;
};
/// igq compare: how far the second detector's objects are those of the first, on pictures of a folder.
void compare_detectors(const ModelFlags& model, const RunFlags& run, const CompareDetectorsFlags& flags);

/// With --throughput: images of a pass for each thread, enough for every one to go on while another ends.
inline constexpr int kImagesOfThread = 4;

struct BenchDetectorFlags {
  BenchmarkOptions options;
  bool profile = false;
  bool throughput = false;  ///< whole pictures on every thread
  SpeedGate gate;
};

/// igq bench: float and integers on one synthetic picture of the configured size, all of detect() timed.
void bench_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                    const BenchDetectorFlags& flags, int& exit_code);

}  // namespace igq::cli
