// The multiple-choice knapsack of group size allocation (docs/method.md, section 6): one choice per class (layer),
// least sum of costs (perturbations) within a budget of weights (BOPs). Deterministic, and exact within a bounded
// effort.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace igq {

struct KnapsackChoice {
  std::int64_t weight = 0;  ///< not negative
  double cost = 0.0;        ///< finite
};

struct KnapsackSolution {
  std::vector<int> choice;  ///< index into each class
  std::int64_t weight = 0;
  double cost = 0.0;
  /// No selection costs less than cost - gap; 0 when this one is proven to be the cheapest.
  double gap = 0.0;
};

/// States that a search keeps at most, over all classes (24 bytes each). Real models need a hundredth of them;
/// instances that are made to be hard would need exponentially many.
inline constexpr std::size_t kKnapsackStates = std::size_t{1} << 22;

/// The cheapest selection whose weights add up to at most `budget`; of equally cheap ones the lightest. Where `states`
/// do not suffice to prove that, the best selection found, with its gap: time and memory are bounded by states x the
/// candidates of a class. Costs are compared in fixed point with 58 bits for the sum of the largest: equality does not
/// depend on the order of additions. Error when even the lightest selection exceeds the budget (it names that weight),
/// and when a class is empty, a weight negative, a cost not finite, or the weights add up to more than 2^62.
KnapsackSolution solve_knapsack(std::span<const std::vector<KnapsackChoice>> classes, std::int64_t budget,
                                std::size_t states = kKnapsackStates);

}  // namespace igq
