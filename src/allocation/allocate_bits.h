// Allocation of bits: for every layer bits of its weights, and bits (and groups) of its activations, with the least sum
// of divergences. Divergences of a layer's weights and activations add up, as those of layers do, so that these are two
// multiple-choice knapsacks, each solved exactly:
//
//   weights       minimise sum_L Psi_L(w_L)        subject to  sum_L size_L(w_L)      <= budget in bits of the file
//   activations   minimise sum_L Psi_L(a_L, g_L)   subject to  sum_L BOP_L(a_L, g_L)  <= budget in bit operations
//
// The budgets are what so many bits in every layer cost, or for the weights a number of bytes. Patch embedding and head
// keep QuantizeOptions::first_last_bits, and sites of site_bits theirs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "allocation/bops.h"
#include "allocation/perturbation.h"

namespace igq {

struct BitBudget {
  double weight_bits = 4.0;      ///< what so many bits in every layer take in the file; 2 to 8
  double activation_bits = 4.0;  ///< what so many bits in every layer cost in bit operations; 2 to 8
  /// When above 0, instead of weight_bits: bits in the file for the weights that are a choice.
  std::int64_t weight_size = 0;
};

struct SiteBitChoice {
  std::string site;
  int weight_bits = 0;  ///< 0: an attention, which has none
  int activation_bits = 0, groups = 1;
  double divergence = 0.0;  ///< of weights and activations together
};

struct BitAllocation {
  std::vector<SiteBitChoice> sites;                      ///< in the order of the model
  std::map<std::string, std::pair<int, int>> site_bits;  ///< for QuantizeOptions::allocated_bits
  std::map<std::string, int> site_groups;                ///< for QuantizeOptions::site_groups
  double divergence = 0.0;                               ///< sum over the sites
  double gap = 0.0;  ///< no allocation has less than divergence - gap; 0: proven to be the best
  /// The same sum with the nearest bits to the budget's in every layer.
  double uniform_divergence = 0.0;
  std::int64_t weight_size = 0, weight_budget = 0;  ///< bits in the file
  std::int64_t bops = 0, bops_budget = 0;           ///< of the layers with a choice
};

/// Bits that weights of `bits` bits take in an .igq file: codes, and those of weight groups.
std::int64_t weight_size(const SiteShape& shape, int bits, int weight_groups);

/// `perturbations` of measure_perturbations() with kBitCandidates for weights and activations. Error when a budget is
/// below what the fewest bits take (it says what the least is).
BitAllocation allocate_bits(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                            const Perturbations& perturbations, const BitBudget& budget);

/// For reports: the fields of BitAllocation by name, without the maps.
nlohmann::json bit_allocation_to_json(const BitAllocation& allocation);

}  // namespace igq
