// The multiple-choice knapsack of group size allocation (method.md section 6): one choice per class (layer), least sum of
// costs (perturbations) within a budget of weights (BOPs). Exact and deterministic.
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
};

/// The cheapest selection whose weights add up to at most `budget`; of equally cheap ones the lightest. Costs are
/// compared in fixed point with 58 bits for the sum of the largest: equality does not depend on the order of additions.
/// Error when even the lightest selection exceeds the budget (it names that weight), and when a class is empty, a weight
/// negative, a cost not finite, or the weights add up to more than 2^62.
KnapsackSolution solve_knapsack(std::span<const std::vector<KnapsackChoice>> classes, std::int64_t budget);

}  // namespace igq
