#include "pipeline/groups_in_use.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace igq {

int groups_in_use(const ActivationPlan& plan) {
  std::set<std::pair<float, float>> different;
  for (const Bounds& b : plan.groups) different.emplace(b.lower, b.upper);
  return static_cast<int>(different.size());
}

GroupsInUse groups_in_use(const QuantizationPlan& plan) {
  GroupsInUse used;
  for (const auto& [site, linear] : plan.linears) {
    const Grouping grouping = linear.input.grouping;
    const bool pixels = site.starts_with("patch_embed");  // one group per colour, whatever was asked for
    if (pixels || (grouping != Grouping::kIgq && grouping != Grouping::kScale && grouping != Grouping::kStaticGroup))
      continue;
    const int groups = groups_in_use(linear.input);
    used.least = used.most == 0 ? groups : std::min(used.least, groups);
    used.most = std::max(used.most, groups);
  }
  return used;
}

std::string groups_text(const std::string& asked, GroupsInUse used) {
  if (used.most == 0) return asked;
  const std::string text =
      used.least == used.most ? fmt::format("{}", used.most) : fmt::format("{}-{}", used.least, used.most);
  if (asked.empty() || asked == "-") return text + " used";
  return text == asked ? asked : fmt::format("{} ({} used)", asked, text);
}

}  // namespace igq
