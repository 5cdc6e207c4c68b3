// Never worse than one quantizer per layer: where the groups planned for an FC input or for the rows of a softmax lose
// more on the calibration images than a single quantizer with calibration's range, the plan takes that one. Groups can
// lose by clipping (bounds that are means over images), not by their steps, which are never wider.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "calibration/calibrate.h"

namespace igq {

/// A site that took the single quantizer, with the relative squared errors of both (site_error.h).
struct BetterPlan {
  std::string site;
  double planned = 0.0, layer = 0.0;
};

/// What the .igq file remembers of them.
nlohmann::json better_plans_to_json(const std::vector<BetterPlan>& better);

/// Measures both in one float pass per image and changes `plan` where the single quantizer is better. The runner's
/// model has no plan attached yet; load(i, image) gives image i.
std::vector<BetterPlan> take_better_plans(const CalibrationPasses& passes, const Statistics& statistics,
                                          const QuantizeOptions& options, QuantizationPlan& plan);
std::vector<BetterPlan> take_better_plans(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                                          std::int64_t images, const std::function<void(std::int64_t, float*)>& load,
                                          QuantizationPlan& plan);

}  // namespace igq
