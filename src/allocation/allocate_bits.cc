#include "allocation/allocate_bits.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "allocation/knapsack.h"
#include "base/fail.h"
#include "quant/weight_groups.h"

namespace igq {
namespace {

/// The candidates of one kind of every layer, and what they cost.
struct Problem {
  std::vector<const SitePerturbation*> layers;
  std::vector<std::vector<KnapsackChoice>> classes;
  std::int64_t budget = 0;
  double uniform = 0.0;  ///< divergence with the nearest bits everywhere

  void add(const SitePerturbation& layer, double bits, const std::function<std::int64_t(const GroupCandidate&)>& cost) {
    layers.push_back(&layer);
    auto& choices = classes.emplace_back();
    const auto distance = [&](const GroupCandidate& c) { return std::abs(c.bits - bits); };
    const GroupCandidate* nearest = &layer.candidates.front();
    for (const GroupCandidate& c : layer.candidates) {
      choices.push_back({cost(c), c.divergence});
      if (distance(c) < distance(*nearest)) nearest = &c;
    }
    uniform += nearest->divergence;
  }
  std::int64_t least() const {
    std::int64_t sum = 0;
    for (const auto& choices : classes)
      sum += std::min_element(choices.begin(), choices.end(), [](const auto& a, const auto& b) {
               return a.weight < b.weight;
             })->weight;
    return sum;
  }
};

const SitePerturbation& perturbation_of(const std::vector<SitePerturbation>& all, const std::string& site) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const SitePerturbation& p) { return p.site == site; });
  if (found == all.end()) fail("allocation: the perturbation of '{}' was not measured", site);
  return *found;
}

/// A number between those for the whole bits around `bits`.
std::int64_t between(double bits, const std::function<std::int64_t(int)>& at) {
  const int below = static_cast<int>(std::floor(bits));
  const double part = bits - below;
  return static_cast<std::int64_t>((1.0 - part) * static_cast<double>(at(below)) +
                                   (part > 0.0 ? part * static_cast<double>(at(below + 1)) : 0.0));
}

}  // namespace

std::int64_t weight_size(const SiteShape& shape, int bits, int weight_groups) {
  const int group_size = effective_group_size(weight_groups, bits, static_cast<int>(shape.contraction()));
  std::int64_t size = shape.contraction() * shape.out * bits;
  if (group_size != 0)
    size += weight_group_count(static_cast<int>(shape.contraction()), group_size) * shape.out *
            (multiplier_bits(bits) + bits);
  return size;
}

BitAllocation allocate_bits(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                            const Perturbations& perturbations, const BitBudget& budget) {
  for (const double bits : {budget.weight_bits, budget.activation_bits})
    if (!(bits >= 2.0 && bits <= 8.0)) fail("an average of {} bits is out of range: 2 to 8", bits);
  BitAllocation allocation;
  Problem weights, activations;
  const int weight_bits = static_cast<int>(std::ceil(budget.weight_bits));
  const auto bops_at = [&](const SiteShape& shape, int bits, int groups) {
    QuantizeOptions at = options;
    at.allocated_bits[shape.name] = {shape.attention ? bits : weight_bits, bits};
    SiteSetting setting = site_setting(shape, at);
    if (has_group_choice(shape, at)) setting.groups = groups;
    return site_bops(shape, setting).total();
  };
  for (const SiteShape& shape : shapes) {
    if (!has_bit_choice(shape, options)) continue;
    activations.add(perturbation_of(perturbations.sites, shape.name), budget.activation_bits,
                    [&](const GroupCandidate& c) { return bops_at(shape, c.bits, c.groups); });
    activations.budget += between(budget.activation_bits, [&](int b) { return bops_at(shape, b, options.groups); });
    if (shape.attention) continue;
    const auto size = [&](int bits) { return weight_size(shape, bits, options.weight_groups); };
    weights.add(perturbation_of(perturbations.weights, shape.name), budget.weight_bits,
                [&](const GroupCandidate& c) { return size(c.bits); });
    weights.budget += between(budget.weight_bits, size);
  }
  if (activations.classes.empty()) fail("allocation: no site of the model has bits to choose");
  if (budget.weight_size > 0) weights.budget = budget.weight_size;
  if (weights.budget < weights.least())
    fail("{:.2f} MB are too few for the weights: with 2 bits everywhere they take {:.2f} MB",
         static_cast<double>(weights.budget) / 8e6, static_cast<double>(weights.least()) / 8e6);
  if (activations.budget < activations.least())
    fail("{:.3f} GBOPs are too few for the activations: the fewest bits and groups take {:.3f}",
         static_cast<double>(activations.budget) / 1e9, static_cast<double>(activations.least()) / 1e9);

  const KnapsackSolution w = solve_knapsack(weights.classes, weights.budget),
                         a = solve_knapsack(activations.classes, activations.budget);
  allocation.divergence = w.cost + a.cost;
  allocation.gap = w.gap + a.gap;
  allocation.uniform_divergence = weights.uniform + activations.uniform;
  allocation.weight_size = w.weight;
  allocation.weight_budget = weights.budget;
  allocation.bops = a.weight;
  allocation.bops_budget = activations.budget;
  std::map<std::string, const GroupCandidate*> weight_of;
  for (std::size_t k = 0; k < weights.layers.size(); ++k)
    weight_of[weights.layers[k]->site] = &weights.layers[k]->candidates[static_cast<std::size_t>(w.choice[k])];
  for (std::size_t k = 0; k < activations.layers.size(); ++k) {
    const GroupCandidate& c = activations.layers[k]->candidates[static_cast<std::size_t>(a.choice[k])];
    SiteBitChoice choice{activations.layers[k]->site, 0, c.bits, c.groups, c.divergence};
    if (const auto found = weight_of.find(choice.site); found != weight_of.end()) {
      choice.weight_bits = found->second->bits;
      choice.divergence += found->second->divergence;
    }
    allocation.site_bits[choice.site] = {choice.weight_bits == 0 ? c.bits : choice.weight_bits, c.bits};
    allocation.site_groups[choice.site] = c.groups;
    allocation.sites.push_back(std::move(choice));
  }
  return allocation;
}

nlohmann::json bit_allocation_to_json(const BitAllocation& allocation) {
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteBitChoice& s : allocation.sites) {
    sites.push_back(
        {{"site", s.site}, {"activation_bits", s.activation_bits}, {"groups", s.groups}, {"divergence", s.divergence}});
    if (s.weight_bits != 0) sites.back()["weight_bits"] = s.weight_bits;
  }
  nlohmann::json result = {{"sites", std::move(sites)},
                           {"divergence", allocation.divergence},
                           {"uniform_divergence", allocation.uniform_divergence},
                           {"weight_size_bits", allocation.weight_size},
                           {"weight_budget_bits", allocation.weight_budget},
                           {"bops", allocation.bops},
                           {"bops_budget", allocation.bops_budget}};
  if (allocation.gap > 0.0) result["gap"] = allocation.gap;
  return result;
}

}  // namespace igq
