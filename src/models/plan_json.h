// QuantizationPlan <-> JSON, and the checks that every stored plan passes.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "quant/plan.h"

namespace igq {

/// Per site bits, grouping and bounds; bounds print with the fewest digits that read back exactly. Weights appear as
/// {"bits", "in", "out"}; their codes, scales and zero-points are tensors of the .igq file (docs/format.md).
nlohmann::json plan_to_json(const QuantizationPlan& plan);

/// [in, out] of a weight's codes.
struct WeightShape {
  int in = 0, out = 0;
};

/// The inverse, except that of the weights only `bits` is set: the caller fills scale, zero_point and codes for every
/// linear in `weight_shapes`. Error (without a path) names the site.
QuantizationPlan plan_from_json(const nlohmann::json& json, std::map<std::string, WeightShape>& weight_shapes);

/// Error (without a path) when a site contradicts plan.h: bits outside 2 to 8, a number of groups that its grouping
/// does not have, bounds that are not finite or not in order, weight scales that are not positive and finite,
/// zero-points that are not codes, sizes that do not match. Does not read the codes.
void check_plan(const QuantizationPlan& plan);

}  // namespace igq
