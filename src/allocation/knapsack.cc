// Linear relaxation by steepest steps along each class's lower convex hull; its multiplier lambda bounds every
// selection from below (Lagrange); dynamic programming over Pareto fronts of (weight, cost) keeps only the states whose
// bound can still reach the best selection known. On instances made to be hard their number is exponential, so it is
// limited: those of the least bound are kept then, and the answer is the best selection seen, with its distance from
// the bound of all. All sums are integers: cost * den + num * weight with lambda = num / den.
#include "allocation/knapsack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/fail.h"

namespace igq {
namespace {

__extension__ typedef __int128 Int128;

constexpr int kCostBits = 58;
constexpr std::int64_t kMaxWeight = std::int64_t{1} << 62;
/// States per class of the first pass, which looks for a good selection.
constexpr std::size_t kBeam = 2000;

struct Item {
  std::int64_t weight, cost;
  int index;          // in the caller's class
  Int128 excess = 0;  // above the class's least cost * den + num * weight
};

/// From one item of a class's hull to the next heavier one.
struct Step {
  int cls;
  std::int64_t weight, gain;
  int to;  // index of the heavier one
};

/// A selection of one item from each class so far.
struct State {
  std::int64_t weight, cost;
  std::int32_t parent, item;
};

/// Items that no other of the class beats in both weight and cost, ascending in weight.
std::vector<Item> pareto(std::vector<Item> items) {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return std::tie(a.weight, a.cost, a.index) < std::tie(b.weight, b.cost, b.index);
  });
  std::vector<Item> kept;
  for (const Item& item : items)
    if (kept.empty() || item.cost < kept.back().cost) kept.push_back(item);
  return kept;
}

/// Steps along the lower convex hull of a Pareto front, gain per weight falling.
std::vector<Step> hull_steps(const std::vector<Item>& front, int cls) {
  std::vector<Step> steps;
  std::vector<const Item*> hull;
  const auto gain_rate_rises = [](const Item& a, const Item& b, const Item& c) {
    return Int128{b.cost - a.cost} * (c.weight - b.weight) >= Int128{c.cost - b.cost} * (b.weight - a.weight);
  };
  for (const Item& item : front) {
    while (hull.size() > 1 && gain_rate_rises(*hull[hull.size() - 2], *hull.back(), item)) hull.pop_back();
    hull.push_back(&item);
  }
  for (std::size_t i = 1; i < hull.size(); ++i)
    steps.push_back({cls, hull[i]->weight - hull[i - 1]->weight, hull[i - 1]->cost - hull[i]->cost, hull[i]->index});
  return steps;
}

class Solver {
 public:
  Solver(std::span<const std::vector<KnapsackChoice>> classes, std::int64_t budget, std::size_t states)
      : budget_(budget), states_(states) {
    read(classes);
    relax();
  }

  /// Indices of the chosen items by class.
  std::vector<int> solve() {
    if (den_ == 0) {  // everything fits: the cheapest item of each class, the last of its front
      std::vector<int> choice;
      for (const auto& front : fronts_) choice.push_back(front.back().index);
      return choice;
    }
    for (const std::size_t limit : {kBeam, std::max(kBeam, states_ / fronts_.size())}) {
      reduce();
      expand(limit);
      if (!truncated_)
        return backtrack(levels_.size() - 1, levels_.back().size() - 1);  // the heaviest of a front is the cheapest
    }
    return best_choice_;
  }

  /// How much less than the result a selection could cost; after solve().
  double gap() const {
    if (!truncated_) return 0.0;
    const Int128 excess = Int128{best_} * den_ - bound_;
    return std::ldexp(static_cast<double>(excess) / static_cast<double>(den_), exponent_ - kCostBits);
  }

 private:
  void read(std::span<const std::vector<KnapsackChoice>> classes) {
    double largest = 0.0;
    Int128 heaviest = 0;
    for (std::size_t k = 0; k < classes.size(); ++k) {
      if (classes[k].empty()) fail("allocation: layer {} has no candidates", k);
      double most = 0.0;
      std::int64_t weight = 0;
      for (const KnapsackChoice& choice : classes[k]) {
        if (!std::isfinite(choice.cost) || choice.weight < 0)
          fail("allocation: layer {} has a candidate of cost {} and weight {}", k, choice.cost, choice.weight);
        most = std::max(most, std::abs(choice.cost));
        weight = std::max(weight, choice.weight);
      }
      largest += most;
      heaviest += weight;
    }
    if (heaviest > kMaxWeight) fail("allocation: the weights add up to more than 2^62");
    std::frexp(largest, &exponent_);
    Int128 lightest = 0;
    for (const auto& cls : classes) {
      std::vector<Item> items;
      for (std::size_t i = 0; i < cls.size(); ++i) {
        const auto cost = static_cast<std::int64_t>(std::llround(std::ldexp(cls[i].cost, kCostBits - exponent_)));
        items.push_back({cls[i].weight, cost, static_cast<int>(i)});
      }
      fronts_.push_back(pareto(std::move(items)));
      lightest += fronts_.back().front().weight;
    }
    if (lightest > budget_)
      fail("allocation: the budget {} is below {}, the weight of the lightest choice in every layer", budget_,
           static_cast<std::int64_t>(lightest));
  }

  /// Takes hull steps from the lightest selection in the order of gain per weight; the first that does not fit gives
  /// lambda, what fits of the rest a first selection.
  void relax() {
    std::vector<Step> steps;
    std::int64_t weight = 0;
    for (std::size_t k = 0; k < fronts_.size(); ++k) {
      best_choice_.push_back(fronts_[k].front().index);
      for (const Step& step : hull_steps(fronts_[k], static_cast<int>(k))) steps.push_back(step);
      weight += fronts_[k].front().weight;
      best_ += fronts_[k].front().cost;
    }
    std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
      return Int128{a.gain} * b.weight > Int128{b.gain} * a.weight;
    });
    std::vector<bool> stopped(fronts_.size());
    for (const Step& step : steps) {
      if (stopped[static_cast<std::size_t>(step.cls)]) continue;
      if (step.weight <= budget_ - weight) {
        weight += step.weight;
        best_ -= step.gain;
        best_choice_[static_cast<std::size_t>(step.cls)] = step.to;
        continue;
      }
      stopped[static_cast<std::size_t>(step.cls)] = true;
      if (den_ == 0) {
        num_ = step.gain;
        den_ = step.weight;
      }
    }
  }

  Int128 lagrange(std::int64_t weight, std::int64_t cost) const { return Int128{cost} * den_ + Int128{num_} * weight; }

  /// Drops items that are in no selection as good as the best known; sorts classes by what is left.
  void reduce() {
    bound_ = -Int128{num_} * budget_;
    for (auto& front : fronts_) {
      Int128 least = lagrange(front[0].weight, front[0].cost);
      for (const Item& item : front) least = std::min(least, lagrange(item.weight, item.cost));
      for (Item& item : front) item.excess = lagrange(item.weight, item.cost) - least;
      bound_ += least;
    }
    order_.resize(fronts_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    for (auto& front : fronts_) std::erase_if(front, [&](const Item& item) { return hopeless(item.excess); });
    const auto fewer = [&](std::size_t a, std::size_t b) { return fronts_[a].size() < fronts_[b].size(); };
    std::stable_sort(order_.begin(), order_.end(), fewer);
  }

  bool hopeless(Int128 excess) const { return bound_ + excess > Int128{best_} * den_; }

  /// Pareto fronts over more and more classes; at most `limit` states each, those of the least excess.
  void expand(std::size_t limit) {
    const std::size_t count = order_.size();
    std::vector<std::int64_t> lightest_rest(count + 1), rest_weight(count + 1), rest_cost(count + 1);
    std::vector<Int128> least_done(count + 1);
    for (std::size_t n = count; n-- > 0;) {
      const auto& front = fronts_[order_[n]];
      const Item& best = *std::find_if(front.begin(), front.end(), [](const Item& item) { return item.excess == 0; });
      lightest_rest[n] = lightest_rest[n + 1] + front.front().weight;
      rest_weight[n] = rest_weight[n + 1] + best.weight;
      rest_cost[n] = rest_cost[n + 1] + best.cost;
    }
    for (std::size_t n = 0; n < count; ++n) {
      const Item& item = fronts_[order_[n]].front();
      least_done[n + 1] = least_done[n] + lagrange(item.weight, item.cost) - item.excess;
    }
    levels_.assign(1, {State{0, 0, -1, -1}});
    truncated_ = false;
    std::vector<int> rest(count);  // by class: the item of excess 0 that rest_weight and rest_cost count
    for (std::size_t k = 0; k < count; ++k)
      rest[k] =
          std::find_if(fronts_[k].begin(), fronts_[k].end(), [](const Item& item) { return item.excess == 0; })->index;
    for (std::size_t n = 0; n < count; ++n) {
      const auto& front = fronts_[order_[n]];
      const std::vector<State>& from = levels_.back();
      std::vector<State> to;
      to.reserve(from.size() * front.size());
      for (std::size_t s = 0; s < from.size(); ++s)
        for (std::size_t i = 0; i < front.size(); ++i) {
          const State next{from[s].weight + front[i].weight, from[s].cost + front[i].cost, static_cast<std::int32_t>(s),
                           static_cast<std::int32_t>(i)};
          if (next.weight > budget_ - lightest_rest[n + 1]) continue;
          if (next.weight <= budget_ - rest_weight[n + 1] && next.cost + rest_cost[n + 1] < best_) {
            best_ = next.cost + rest_cost[n + 1];
            best_choice_ = backtrack(n, s, rest);
            best_choice_[order_[n]] = front[i].index;
          }
          to.push_back(next);
        }
      const auto excess = [&](const State& s) { return lagrange(s.weight, s.cost) - least_done[n + 1]; };
      std::erase_if(to, [&](const State& s) { return hopeless(excess(s)); });
      std::sort(to.begin(), to.end(), [](const State& a, const State& b) {
        return std::tie(a.weight, a.cost, a.parent, a.item) < std::tie(b.weight, b.cost, b.parent, b.item);
      });
      std::size_t kept = 0;
      for (const State& s : to)
        if (kept == 0 || s.cost < to[kept - 1].cost) to[kept++] = s;
      to.resize(kept);
      if (to.size() > limit) {
        std::nth_element(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(limit), to.end(),
                         [&](const State& a, const State& b) {
                           return std::tuple(excess(a), a.weight, a.cost) < std::tuple(excess(b), b.weight, b.cost);
                         });
        to.resize(limit);
        truncated_ = true;
      }
      levels_.push_back(std::move(to));
    }
  }

  /// The items that led to state `at` of level `level`; of the classes after it those of `choice`.
  std::vector<int> backtrack(std::size_t level, std::size_t at, std::vector<int> choice) const {
    for (std::size_t n = level; n-- > 0;) {
      const State& state = levels_[n + 1][at];
      choice[order_[n]] = fronts_[order_[n]][static_cast<std::size_t>(state.item)].index;
      at = static_cast<std::size_t>(state.parent);
    }
    return choice;
  }
  std::vector<int> backtrack(std::size_t level, std::size_t at) const {
    return backtrack(level, at, std::vector<int>(order_.size()));
  }

  std::int64_t budget_;
  std::size_t states_;
  int exponent_ = 0;  // costs are multiples of 2^(exponent - kCostBits)
  std::vector<std::vector<Item>> fronts_;
  std::int64_t num_ = 0, den_ = 0;  // lambda
  std::int64_t best_ = 0;           // cost of the best selection known
  std::vector<int> best_choice_;    //   and the selection, indices by class
  bool truncated_ = false;          // states were dropped that might have led to a better one
  Int128 bound_ = 0;                // of every selection, times den
  std::vector<std::size_t> order_;
  std::vector<std::vector<State>> levels_;
};

}  // namespace

KnapsackSolution solve_knapsack(std::span<const std::vector<KnapsackChoice>> classes, std::int64_t budget,
                                std::size_t states) {
  KnapsackSolution solution;
  Solver solver(classes, budget, states);
  solution.choice = solver.solve();
  solution.gap = solver.gap();
  for (std::size_t k = 0; k < classes.size(); ++k) {
    const KnapsackChoice& chosen = classes[k][static_cast<std::size_t>(solution.choice[k])];
    solution.weight += chosen.weight;
    solution.cost += chosen.cost;
  }
  return solution;
}

}  // namespace igq
