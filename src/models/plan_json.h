// QuantizationPlan <-> JSON, and the checks that every stored plan passes.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/json.h"
#include "quant/plan.h"

namespace igq {

/// Per site bits, grouping and bounds; bounds print with the fewest digits that read back exactly. Weights appear as
/// {"bits", "in", "out"}, with groups also "group_size"; their codes, scales and so on are tensors of the .igq file
/// (docs/format.md).
nlohmann::json plan_to_json(const QuantizationPlan& plan);

/// [in, out] of a weight's codes.
struct WeightShape {
  int in = 0, out = 0;
};

/// The inverse, except that of the weights only `bits` and `group_size` are set: the caller fills the rest for every
/// linear in `weight_shapes`. Error (without a path) names the site.
QuantizationPlan plan_from_json(const nlohmann::json& json, std::map<std::string, WeightShape>& weight_shapes);

/// Calls `body` and puts the site in front of what it complains about.
void at_site(const std::string& site, const std::function<void()>& body);

/// Error (without a path) when a site contradicts plan.h: bits outside 2 to 8, a number of groups that its grouping
/// does not have, bounds that are not finite or not in order, weight scales that are not positive and finite,
/// zero-points that are not codes, sizes that do not match. Does not read the codes.
void check_plan(const QuantizationPlan& plan);

}  // namespace igq
