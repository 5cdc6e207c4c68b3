// Second-order rounding against its definition: the reported error, the optimum of small problems, what each part may
// not make worse.
#include "calibration/rounding.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "base/random.h"
#include "quant/weight_groups.h"
#include "quant/weights.h"

namespace igq {
namespace {

struct Problem {
  Eigen::MatrixXd h;
  std::vector<float> w;
  int in, out;
};

/// Inputs that depend on each other, as a transformer's do.
Problem make_problem(int in, int out, std::uint64_t seed) {
  Random random(seed);
  Eigen::MatrixXd mix(in, in), x(4 * in, in);
  for (auto& v : mix.reshaped()) v = random.normal();
  for (auto& v : x.reshaped()) v = random.normal();
  x = (x * mix).eval();
  Problem p{x.transpose() * x, {}, in, out};
  p.h.diagonal().array() += 0.01 * p.h.diagonal().mean();
  for (int i = 0; i < in * out; ++i) p.w.push_back(static_cast<float>(random.normal()));
  return p;
}

double error_of(const Problem& p, const WeightPlan& plan, int o) {
  Eigen::VectorXd e(p.in);
  const auto n = static_cast<std::size_t>(o);
  for (int k = 0; k < p.in; ++k) {
    const int code = plan.codes[static_cast<std::size_t>(k * p.out + o)] + (1 << (plan.bits - 1));
    EXPECT_GE(code, 0);
    EXPECT_LE(code, code_max(plan.bits));
    e(k) = static_cast<double>(plan.scale[n] * static_cast<float>(code - plan.zero_point[n])) -
           static_cast<double>(p.w[static_cast<std::size_t>(o * p.in + k)]);
  }
  return e.dot(p.h * e);
}

double grouped_error(const Problem& p, const WeightPlan& plan, int o) {
  Eigen::VectorXd e(p.in);
  for (int k = 0; k < p.in; ++k)
    e(k) = static_cast<double>(plan.scale[static_cast<std::size_t>(o)]) *
               plan.codes[static_cast<std::size_t>(k * p.out + o)] -
           static_cast<double>(p.w[static_cast<std::size_t>(o * p.in + k)]);
  return e.dot(p.h * e);
}

Rounded solve(const Problem& p, const RoundingOptions& options, int threads = 1) {
  ThreadPool pool(threads);
  return round_weights(p.h, p.w, p.in, p.out, options, kernels::kernels_for(best_isa()), pool);
}

TEST(RoundWeights, ReportsTheErrorOfItsCodes) {
  for (const auto& [in, out] : {std::pair{1, 1}, {5, 3}, {64, 16}, {65, 17}, {130, 40}}) {
    const Problem p = make_problem(in, out, 1);
    RoundingOptions options;
    options.clipping = {1.0f, 0.8f};
    const Rounded rounded = solve(p, options);
    for (int o = 0; o < out; ++o)
      EXPECT_NEAR(rounded.error[static_cast<std::size_t>(o)], error_of(p, rounded.plan, o),
                  1e-3 * error_of(p, rounded.plan, o) + 1e-6);
  }
}

TEST(RoundWeights, IndependentInputsAreRoundedToNearest) {
  Problem p = make_problem(40, 9, 2);
  p.h = Eigen::VectorXd::LinSpaced(40, 1.0, 5.0).asDiagonal();
  const Rounded rounded = solve(p, {});
  const WeightPlan nearest = quantize_weights(p.w, p.in, p.out, 4, 0.0);
  EXPECT_EQ(rounded.plan.scale, nearest.scale);
  EXPECT_EQ(rounded.plan.zero_point, nearest.zero_point);
  EXPECT_TRUE(std::equal(nearest.codes.begin(), nearest.codes.end(), rounded.plan.codes.begin()));
}

TEST(RoundWeights, FarBetterThanNearest) {
  const Problem p = make_problem(96, 20, 3);
  const WeightPlan nearest = quantize_weights(p.w, p.in, p.out, 4, 0.0);
  const Rounded rounded = solve(p, {});
  double before = 0.0, after = 0.0;
  for (int o = 0; o < p.out; ++o) {
    before += error_of(p, nearest, o);
    after += error_of(p, rounded.plan, o);
  }
  EXPECT_LT(after, 0.5 * before);
}

TEST(RoundWeights, WeightGroupsReportTheirErrorAndHelp) {
  for (const auto& [in, out, size] : {std::tuple{64, 16, 16}, {70, 17, 32}, {130, 40, 64}}) {
    const Problem p = make_problem(in, out, 9);
    for (int bits = 2; bits <= kMaxGroupedBits; ++bits) {
      RoundingOptions options;
      options.bits = bits;
      options.clipping = {1.0f, 0.9f, 0.8f, 0.7f};
      const Rounded plain = solve(p, options);
      options.group_size = size;
      const Rounded grouped = solve(p, options), threads = solve(p, options, 3);
      EXPECT_TRUE(std::equal(grouped.plan.codes.begin(), grouped.plan.codes.end(), threads.plan.codes.begin()));
      EXPECT_EQ(grouped.plan.multiplier, threads.plan.multiplier);
      group_codes(grouped.plan);  // throws when one is no code of its group
      double before = 0.0, after = 0.0;
      for (int o = 0; o < out; ++o) {
        const double error = grouped_error(p, grouped.plan, o);
        EXPECT_NEAR(grouped.error[static_cast<std::size_t>(o)], error, 1e-3 * error + 1e-6);
        before += plain.error[static_cast<std::size_t>(o)];
        after += error;
      }
      EXPECT_LT(after, before) << bits << " bits, groups of " << size;
    }
  }
}

TEST(RoundWeights, ClippingNeverMakesItWorse) {
  const Problem p = make_problem(70, 33, 4);
  for (const int bits : {2, 3, 4, 8}) {
    RoundingOptions options;
    options.bits = bits;
    const Rounded plain = solve(p, options);
    options.clipping = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f};
    const Rounded clipped = solve(p, options);
    for (std::size_t o = 0; o < plain.error.size(); ++o)
      EXPECT_LE(clipped.error[o], plain.error[o]) << bits << " bits, output " << o;
  }
}

TEST(RoundWeights, NearTheOptimumOfSmallProblems) {
  // All 4^5 codes of the plan's own scale and zero-point.
  double found = 0.0, best_sum = 0.0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Problem p = make_problem(5, 1, 10 + seed);
    RoundingOptions options;
    options.bits = 2;
    Rounded rounded = solve(p, options);
    const double error = error_of(p, rounded.plan, 0);
    double best = error;
    WeightPlan any = rounded.plan;
    for (int word = 0; word < 1024; ++word) {
      for (int k = 0; k < 5; ++k)
        any.codes[static_cast<std::size_t>(k)] = static_cast<std::int8_t>((word >> (2 * k)) % 4 - 2);
      best = std::min(best, error_of(p, any, 0));
    }
    found += error;
    best_sum += best;
  }
  EXPECT_LT(found, 1.6 * best_sum);
}

TEST(RoundWeights, DoesNotDependOnThreads) {
  const Problem p = make_problem(90, 100, 5);
  RoundingOptions options;
  options.clipping = {1.0f, 0.9f, 0.8f};
  const Rounded one = solve(p, options, 1), many = solve(p, options, 5);
  EXPECT_EQ(one.plan.scale, many.plan.scale);
  EXPECT_EQ(one.plan.zero_point, many.plan.zero_point);
  EXPECT_EQ(one.error, many.error);
  EXPECT_TRUE(std::equal(one.plan.codes.begin(), one.plan.codes.end(), many.plan.codes.begin()));
}

TEST(RoundWeights, ZeroAndConstantChannels) {
  Problem p = make_problem(12, 3, 6);
  for (int k = 0; k < 12; ++k) p.w[static_cast<std::size_t>(k)] = 0.0f, p.w[static_cast<std::size_t>(12 + k)] = 2.5f;
  RoundingOptions options;
  const Rounded rounded = solve(p, options);
  EXPECT_EQ(rounded.error[0], 0.0);
  EXPECT_NEAR(rounded.error[1], 0.0, 1e-3);
}

/// Rounding errors of the moments of inputs that hardly vary, of any size: damped until the matrix is definite.
TEST(RoundWeights, IndefiniteMatricesAreDamped) {
  for (const double size : {1e-12, 1.0, 1e12}) {
    Problem p = make_problem(4, 2, 7);
    p.h = (p.h * size).eval();
    p.h(0, 0) = -size;
    Problem negative = p, none = p;
    negative.h = Eigen::MatrixXd::Constant(4, 4, -size);
    none.h.setZero();
    for (const Problem* problem : {&p, &negative, &none}) {
      const Rounded rounded = solve(*problem, {});
      const auto [least, most] = std::minmax_element(p.w.begin(), p.w.end());
      for (int o = 0; o < p.out; ++o) {
        EXPECT_TRUE(std::isfinite(error_of(*problem, rounded.plan, o))) << size;
        EXPECT_TRUE(std::isfinite(rounded.error[static_cast<std::size_t>(o)])) << size;
        EXPECT_LE(rounded.plan.scale[static_cast<std::size_t>(o)], (*most - *least) / 15.0f) << size;
      }
    }
  }
}

TEST(RoundWeights, RefusesMomentsThatAreNotFinite) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
    Problem p = make_problem(4, 2, 7);
    p.h(1, 1) = value;
    EXPECT_THROW(solve(p, {}), Error);
    p = make_problem(4, 2, 7);
    p.h(3, 0) = p.h(0, 3) = value;
    EXPECT_THROW(solve(p, {}), Error);
  }
}

}  // namespace
}  // namespace igq
