// The knapsack against HiGHS's optima, trying every selection, and its promises.
#include "allocation/knapsack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "base/random.h"
#include "igq/error.h"
#include "tests/test_util.h"

namespace igq {
namespace {

using Classes = std::vector<std::vector<KnapsackChoice>>;

TEST(Knapsack, EqualsHighsOnAThousandInstances) {
  std::ifstream file(test::fixtures() / "allocation" / "instances.json");
  const nlohmann::json instances = nlohmann::json::parse(file);
  ASSERT_EQ(instances.size(), 1000u);
  const auto thousandths = [](const nlohmann::json& number) {
    return static_cast<std::int64_t>(std::llround(number.get<double>() * 1000.0));
  };
  int feasible = 0;
  for (std::size_t n = 0; n < instances.size(); ++n) {
    const nlohmann::json& instance = instances[n];
    Classes classes;
    for (std::size_t k = 0; k < instance["cost"].size(); ++k) {
      std::vector<KnapsackChoice>& cls = classes.emplace_back();
      for (std::size_t i = 0; i < instance["cost"][k].size(); ++i)
        cls.push_back({thousandths(instance["cost"][k][i]), instance["value"][k][i].get<double>()});
    }
    const std::int64_t budget = thousandths(instance["budget"]);
    if (instance["objective"].is_null()) {
      EXPECT_THROW(solve_knapsack(classes, budget), Error) << n;
      continue;
    }
    const KnapsackSolution solution = solve_knapsack(classes, budget);
    EXPECT_LE(solution.weight, budget) << n;
    // Values are multiples of 1/10000: sums closer than that are equal.
    EXPECT_EQ(std::llround(solution.cost * 10000.0), std::llround(instance["objective"].get<double>() * 10000.0)) << n;
    ++feasible;
  }
  EXPECT_GT(feasible, 800);
}

Classes random_classes(Random& random, int layers, int candidates, std::int64_t weights, int costs) {
  Classes classes(static_cast<std::size_t>(layers));
  for (auto& cls : classes)
    for (int i = 0; i < candidates; ++i)
      cls.push_back({static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(weights))),
                     static_cast<double>(random.below(static_cast<std::uint64_t>(costs))) / 16.0});
  return classes;
}

/// (cost, weight) of the best selection by trying all; cost -1 when none fits.
std::pair<double, std::int64_t> try_all(const Classes& classes, std::int64_t budget, std::size_t k = 0) {
  if (k == classes.size()) return budget < 0 ? std::pair{-1.0, std::int64_t{0}} : std::pair{0.0, std::int64_t{0}};
  std::pair<double, std::int64_t> best{-1.0, 0};
  for (const KnapsackChoice& choice : classes[k]) {
    auto [cost, weight] = try_all(classes, budget - choice.weight, k + 1);
    if (cost < 0.0) continue;
    const std::pair<double, std::int64_t> sum{cost + choice.cost, weight + choice.weight};
    if (best.first < 0.0 || sum < best) best = sum;
  }
  return best;
}

TEST(Knapsack, FindsTheLightestOfTheCheapest) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    const int costs = round % 3 == 0 ? 4 : 400;  // few distinct costs: many ties
    const Classes classes = random_classes(random, 5, 4, 30, costs);
    const auto budget = static_cast<std::int64_t>(random.below(120));
    const auto [cost, weight] = try_all(classes, budget);
    if (cost < 0.0) {
      EXPECT_THROW(solve_knapsack(classes, budget), Error);
      continue;
    }
    const KnapsackSolution solution = solve_knapsack(classes, budget);
    EXPECT_EQ(solution.cost, cost) << round;
    EXPECT_EQ(solution.weight, weight) << round;
  }
}

TEST(Knapsack, SolvesModelsOf150LayersWithWeightsOfBillions) {
  Random random(5);
  Classes classes;
  for (int k = 0; k < 150; ++k) {
    auto& cls = classes.emplace_back();
    const double size = std::exp(6.0 * random.uniform());
    std::int64_t weight = 1'000'000'000 + static_cast<std::int64_t>(random.below(1'000'000'000'000));
    double cost = size * (1.0 + random.uniform());
    for (int i = 0; i < 10; ++i) {
      cls.push_back({weight, cost});
      weight += 1 + static_cast<std::int64_t>(random.below(20'000'000'000));
      cost *= 0.5 + 0.6 * random.uniform();  // now and then more groups perturb more
    }
  }
  std::int64_t lightest = 0, heaviest = 0;
  for (const auto& cls : classes) {
    lightest += cls.front().weight;
    heaviest += cls.back().weight;
  }
  double last = std::numeric_limits<double>::infinity();
  for (int percent = 0; percent <= 100; percent += 5) {
    const std::int64_t budget = lightest + (heaviest - lightest) / 100 * percent;
    const KnapsackSolution solution = solve_knapsack(classes, budget);
    EXPECT_LE(solution.weight, budget);
    EXPECT_LE(solution.cost, last);  // a larger budget is never worse
    EXPECT_EQ(solution.gap, 0.0) << "layers like those of models are solved exactly";
    // Solving again at the weight used gives the same selection: nothing lighter is as cheap.
    EXPECT_EQ(solve_knapsack(classes, solution.weight).choice, solution.choice);
    if (solution.weight > lightest) {
      EXPECT_GT(solve_knapsack(classes, solution.weight - 1).cost, solution.cost);
    }
    last = solution.cost;
  }
}

// Subset sums: cost falls exactly as weight rises, so bounds exclude nothing, and no selection of even weights fills an
// odd budget. Exact search would keep exponentially many states.
TEST(Knapsack, HardInstancesEndWithTheDistanceFromTheBound) {
  Random random(7);
  Classes classes;
  std::int64_t heaviest = 0;
  for (int k = 0; k < 60; ++k) {
    auto& cls = classes.emplace_back();
    for (int i = 0; i < 10; ++i) {
      const auto weight = static_cast<std::int64_t>(2 * random.below(std::uint64_t{1} << 40));
      cls.push_back({weight, 1e15 - static_cast<double>(weight)});
    }
    std::int64_t most = 0;
    for (const auto& choice : cls) most = std::max(most, choice.weight);
    heaviest += most;
  }
  const std::int64_t budget = heaviest * 3 / 4 | 1;
  // An unbounded search would never come back: the test's own time limit is what catches that.
  const KnapsackSolution solution = solve_knapsack(classes, budget, 200'000);
  EXPECT_LE(solution.weight, budget);
  EXPECT_GT(solution.gap, 0.0);
  EXPECT_LT(solution.gap, 1e-4 * solution.cost);
  std::int64_t weight = 0;
  for (std::size_t k = 0; k < classes.size(); ++k)
    weight += classes[k].at(static_cast<std::size_t>(solution.choice[k])).weight;
  EXPECT_EQ(weight, solution.weight);
  EXPECT_GE(solution.cost - solution.gap, 60 * 1e15 - static_cast<double>(budget) - 1e3)
      << "the bound is what the budget itself would cost";
  EXPECT_EQ(solve_knapsack(classes, budget, 200'000).choice, solution.choice);
}

TEST(Knapsack, DoesNotDependOnTheOrderOfClasses) {
  Random random(9);
  const Classes classes = random_classes(random, 40, 6, 1'000'000, 50);
  const Classes reversed(classes.rbegin(), classes.rend());
  const KnapsackSolution a = solve_knapsack(classes, 12'000'000), b = solve_knapsack(reversed, 12'000'000);
  EXPECT_EQ(a.cost, b.cost);
  EXPECT_EQ(a.weight, b.weight);
}

TEST(Knapsack, NamesTheLeastBudgetAndRefusesNonsense) {
  const Classes classes = {{{5, 1.0}, {7, 0.5}}, {{6, 1.0}}};
  EXPECT_EQ(solve_knapsack(classes, 11).choice, (std::vector<int>{0, 0}));
  try {
    solve_knapsack(classes, 10);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("11"), std::string::npos) << e.what();
  }
  EXPECT_THROW(solve_knapsack(Classes{{}}, 10), Error);
  EXPECT_THROW(solve_knapsack(Classes{{{-1, 1.0}}}, 10), Error);
  EXPECT_THROW(solve_knapsack(Classes{{{1, std::nan("")}}}, 10), Error);
  EXPECT_THROW(solve_knapsack(Classes{{{std::int64_t{1} << 62, 1.0}}, {{std::int64_t{1} << 62, 1.0}}}, 10), Error);
  EXPECT_TRUE(solve_knapsack(Classes{}, 0).choice.empty());
  EXPECT_EQ(solve_knapsack(Classes{{{3, 0.0}, {2, 0.0}}}, 9).choice, (std::vector<int>{1}));
  EXPECT_EQ(solve_knapsack(Classes{{{0, -2.0}, {1, -3.0}}, {{0, 1.0}, {1, 0.5}}}, 1).choice, (std::vector<int>{1, 0}));
}

}  // namespace
}  // namespace igq
