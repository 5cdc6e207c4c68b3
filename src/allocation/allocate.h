// Group size allocation (docs/method.md, section 6): one number of groups per layer, least sum of divergences within a
// budget of bit operations.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "allocation/bops.h"
#include "allocation/perturbation.h"

namespace igq {

struct AllocationBudget {
  /// The budget is what the uniform setting with so many groups in every layer costs ("average group size" of the
  /// paper).
  int average_groups = 8;
  /// When above 0: this many billions of bit operations for the whole model instead.
  double gbops = 0.0;
};

struct AllocatedSite {
  std::string site;
  int groups = 1;
  double divergence = 0.0;
  double measured = -1.0;  ///< from runs of the network with this number of groups; negative: not run
  std::int64_t bops = 0;
  bool operator==(const AllocatedSite&) const = default;
};

struct Allocation {
  std::map<std::string, int> site_groups;  ///< for QuantizeOptions::site_groups
  std::vector<AllocatedSite> sites;        ///< the layers with a choice, in the order of the model
  double divergence = 0.0;                 ///< sum over the layers
  double gap = 0.0;                        ///< no allocation has less than divergence - gap; 0: proven to be the best
  /// The same sum when every layer has average_groups; negative when that is not a candidate of every layer.
  double uniform_divergence = -1.0;
  std::int64_t bops = 0, budget = 0;  ///< of the whole model
};

/// Error when no allocation fits the budget, whatever will be measured: what allocate_groups() says, before the work.
/// `candidates` are those of PerturbationOptions.
void check_budget(std::span<const SiteShape> shapes, const QuantizeOptions& options, const AllocationBudget& budget,
                  std::span<const int> candidates = kGroupCandidates);

/// `perturbations` as measure_perturbations() gives them for the same options and model. options.site_groups is ignored
/// for the layers with a choice. Error when the budget is below the cost of the lightest choice in every layer (it says
/// what the least budget is), and when `perturbations` lacks a layer.
Allocation allocate_groups(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                           const std::vector<SitePerturbation>& perturbations, const AllocationBudget& budget);

/// For reports: the fields of Allocation by name, without site_groups, "gap" only above 0; "measured" is null for what
/// was not run.
nlohmann::json allocation_to_json(const Allocation& allocation);

}  // namespace igq
