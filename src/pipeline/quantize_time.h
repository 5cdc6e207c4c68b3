// How long quantizing will roughly take, for those who plan it: the float passes that it is made of, times the length
// of one.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "models/registry.h"
#include "pipeline/quantize_model.h"

namespace igq {

/// What a prediction goes by.
struct QuantizeWork {
  std::int64_t images = 0;    ///< that calibrate
  std::int64_t judged = 0;    ///< that the result is measured on
  double pass_seconds = 0.0;  ///< one float pass on all threads, as timed on this machine
  std::int64_t most_inputs = std::numeric_limits<std::int64_t>::max();  ///< layers with more are rounded to nearest
  std::int64_t trials = 0;  ///< whole passes of an allocation (trial_passes())
};

/// Seconds, for plans: passes for statistics, comparisons and rounding, and what rounding solves for each layer,
/// in * (in + out) * in multiply-adds at the pace of the float pass. Runs of a ViT-S, a small Swin and a small
/// detector, of 8 and 32 images and all methods of rounding, took between a third and three times as long. Not for
/// --reconstruct, whose steps end when they no longer gain.
double predicted_seconds(std::span<const SiteShape> shapes, const QuantizeOptions& options, const QuantizeWork& work);

}  // namespace igq
