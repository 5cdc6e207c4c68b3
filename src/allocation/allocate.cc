#include "allocation/allocate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "allocation/knapsack.h"
#include "base/fail.h"

namespace igq {
namespace {

std::int64_t bops_with(const SiteShape& shape, const QuantizeOptions& options, int groups) {
  SiteSetting setting = site_setting(shape, options);
  setting.groups = std::clamp(groups, 1, static_cast<int>(shape.attention ? shape.tokens : shape.in));
  return site_bops(shape, setting).total();
}

/// In bit operations; `uniform`: those of the uniform setting.
std::int64_t total_budget(const AllocationBudget& budget, std::int64_t uniform) {
  if (!(budget.gbops > 0.0)) return uniform;
  if (budget.gbops > 4e9) fail("a budget of {} GBOPs is out of range", budget.gbops);
  return static_cast<std::int64_t>(std::floor(budget.gbops * 1e9));
}

void check_least(std::int64_t budget, std::int64_t least) {
  if (budget < least)
    fail(
        "a budget of {:.3f} GBOPs is too small: the smallest number of groups in every layer takes {:.3f}; give "
        "--budget-gbops {:.3f} or more, or fewer bits",
        static_cast<double>(budget) / 1e9, static_cast<double>(least) / 1e9,
        std::ceil(static_cast<double>(least) / 1e6) / 1e3);
}

}  // namespace

void check_budget(std::span<const SiteShape> shapes, const QuantizeOptions& options, const AllocationBudget& budget,
                  std::span<const int> candidates) {
  std::int64_t least = 0, uniform = 0;
  for (const SiteShape& shape : shapes) {
    if (!has_group_choice(shape, options)) {
      const std::int64_t fixed = site_bops(shape, site_setting(shape, options)).total();
      least += fixed;
      uniform += fixed;
      continue;
    }
    std::int64_t lightest = std::numeric_limits<std::int64_t>::max();
    for (const int groups : candidates) lightest = std::min(lightest, bops_with(shape, options, groups));
    least += lightest;
    uniform += bops_with(shape, options, budget.average_groups);
  }
  check_least(total_budget(budget, uniform), least);
}

Allocation allocate_groups(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                           const std::vector<SitePerturbation>& perturbations, const AllocationBudget& budget) {
  if (budget.average_groups < 1)
    fail("the average number of groups is {}, it must be at least 1", budget.average_groups);
  Allocation allocation;
  std::vector<const SitePerturbation*> layers;
  std::vector<std::vector<KnapsackChoice>> classes;
  std::int64_t fixed = 0, uniform = 0;  // BOPs of sites without a choice; of the uniform setting
  bool uniform_known = true;
  double uniform_divergence = 0.0;
  for (const SiteShape& shape : shapes) {
    if (!has_group_choice(shape, options)) {
      fixed += site_bops(shape, site_setting(shape, options)).total();
      continue;
    }
    const auto layer = std::find_if(perturbations.begin(), perturbations.end(),
                                    [&](const SitePerturbation& p) { return p.site == shape.name; });
    if (layer == perturbations.end()) fail("allocation: the perturbation of '{}' was not measured", shape.name);
    layers.push_back(&*layer);
    auto& choices = classes.emplace_back();
    for (const GroupCandidate& c : layer->candidates)
      choices.push_back({bops_with(shape, options, c.groups), c.divergence});
    uniform += bops_with(shape, options, budget.average_groups);
    const int groups = std::min(budget.average_groups, static_cast<int>(shape.attention ? shape.tokens : shape.in));
    const auto same = std::find_if(layer->candidates.begin(), layer->candidates.end(),
                                   [&](const GroupCandidate& c) { return c.groups == groups; });
    uniform_known = uniform_known && same != layer->candidates.end();
    if (uniform_known) uniform_divergence += same->divergence;
  }
  if (uniform_known) allocation.uniform_divergence = uniform_divergence;

  allocation.budget = total_budget(budget, fixed + uniform);
  std::int64_t least = fixed;
  const auto lighter = [](const KnapsackChoice& a, const KnapsackChoice& b) { return a.weight < b.weight; };
  for (const auto& choices : classes) least += std::min_element(choices.begin(), choices.end(), lighter)->weight;
  check_least(allocation.budget, least);

  const KnapsackSolution solution = solve_knapsack(classes, allocation.budget - fixed);
  allocation.bops = fixed + solution.weight;
  allocation.divergence = solution.cost;
  allocation.gap = solution.gap;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const auto chosen = static_cast<std::size_t>(solution.choice[k]);
    const GroupCandidate& c = layers[k]->candidates[chosen];
    allocation.sites.push_back({layers[k]->site, c.groups, c.divergence, c.measured, classes[k][chosen].weight});
    allocation.site_groups[layers[k]->site] = c.groups;
  }
  return allocation;
}

nlohmann::json allocation_to_json(const Allocation& allocation) {
  nlohmann::json sites = nlohmann::json::array();
  for (const AllocatedSite& s : allocation.sites)
    sites.push_back({{"site", s.site},
                     {"groups", s.groups},
                     {"divergence", s.divergence},
                     {"measured", s.measured < 0.0 ? nlohmann::json() : nlohmann::json(s.measured)},
                     {"bops", s.bops}});
  nlohmann::json result = {{"sites", std::move(sites)},
                           {"divergence", allocation.divergence},
                           {"bops", allocation.bops},
                           {"budget", allocation.budget}};
  if (allocation.gap > 0.0) result["gap"] = allocation.gap;
  if (allocation.uniform_divergence >= 0.0) result["uniform_divergence"] = allocation.uniform_divergence;
  return result;
}

}  // namespace igq
