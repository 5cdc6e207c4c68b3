#include "models/network.h"

#include <algorithm>
#include <set>

#include "base/fail.h"

namespace igq {

int Network::find_site(const std::string& name) const {
  const auto it = std::find_if(sites_.begin(), sites_.end(), [&](const Site& s) { return s.name == name; });
  return it == sites_.end() ? -1 : static_cast<int>(it - sites_.begin());
}

void Network::add_site(Site site) {
  const auto number = static_cast<int>(sites_.size());
  const auto take = [&](auto* part) {
    if (part == nullptr) return;
    part->set_site(number);
    site.name = part->name();
  };
  take(site.linear);
  take(site.attention);
  take(site.conv);
  sites_.push_back(std::move(site));
}

void Network::set_plan(std::shared_ptr<const QuantizationPlan> plan) {
  if (plan != nullptr) {
    std::set<std::string> linears, attentions;
    for (const Site& site : sites_) (site.has_weights() ? linears : attentions).insert(site.name);
    auto check = [&](const std::set<std::string>& known, const std::string& name) {
      if (!known.contains(name))
        fail("the quantization plan names the site '{}', which {} does not have", name, architecture());
    };
    for (const auto& [name, unused] : plan->linears) check(linears, name);
    for (const auto& [name, unused] : plan->attentions) check(attentions, name);
  }
  for (const Site& site : sites_) {
    if (site.has_weights()) {
      const auto it = plan == nullptr ? decltype(plan->linears.end()){} : plan->linears.find(site.name);
      const bool found = plan != nullptr && it != plan->linears.end();
      site.set_plan(found ? std::shared_ptr<const LinearPlan>(plan, &it->second) : nullptr);
    } else {
      const auto it = plan == nullptr ? decltype(plan->attentions.end()){} : plan->attentions.find(site.name);
      const bool found = plan != nullptr && it != plan->attentions.end();
      site.attention->set_plan(found ? std::shared_ptr<const AttentionPlan>(plan, &it->second) : nullptr);
    }
  }
  plan_ = std::move(plan);
}

void Network::prepare(Execution execution, const kernels::Kernels& kernels) {
  for (const Site& site : sites_)
    if (site.has_weights()) site.prepare(execution, kernels);
}

}  // namespace igq
