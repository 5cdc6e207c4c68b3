// Weights chosen by what they do to the calibration images (refine.h) for networks that have no steps to stop at:
// detectors. Whole quantized passes are watched, a few layers at a time in the order of the network, so that a layer's
// inputs are those of the quantized network up to the layers watched together with it. Of maps and regions a regular
// sample of rows is enough.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calibration/passes.h"
#include "calibration/refine.h"

namespace igq {

/// Inputs of a layer above which its second moments would not fit in memory: it keeps weights rounded to nearest.
inline constexpr int kMostMoments = 4096;

struct NetworkRefinement {
  std::vector<std::string> nearest;  ///< layers with more than kMostMoments inputs
  std::size_t bytes = 0;             ///< most memory held for second moments
};

/// Rewrites the weights of `plan`, which make_plan() made and which is attached to the network. passes.run is a pass of
/// the quantized network with its present weights, prepared for `execution`. after(done, total) is called after each
/// layer.
NetworkRefinement refine_network(Network& network, const std::shared_ptr<QuantizationPlan>& plan,
                                 const QuantizeOptions& options, const CalibrationPasses& passes, Execution execution,
                                 ThreadPool& pool, const std::function<void(int, int)>& after = {});

}  // namespace igq
