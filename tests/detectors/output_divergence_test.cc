#include "detectors/output_divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace igq {
namespace {

using Values = std::vector<float>;

double classes(const Values& p, const Values& q, std::size_t count, const Values& d, const Values& e) {
  OutputDivergence divergence;
  divergence.add_classes(p, q, count, d, e);
  divergence.end_stage();
  return divergence.result();
}

TEST(OutputDivergence, EqualOutputsHaveNone) {
  const Values logits = {3.0f, -1.0f, 0.5f, 0.0f, 2.0f, -4.0f},
               deltas = {0.1f, 0.2f, 0.3f, 0.4f, -1.0f, 0.0f, 2.0f, 1.0f};
  EXPECT_EQ(classes(logits, logits, 3, deltas, deltas), 0.0);
  OutputDivergence divergence;
  divergence.add_objectness(Values{5.0f, -7.0f}, Values{5.0f, -7.0f}, deltas, deltas);
  divergence.end_stage();
  divergence.add_masks(logits, logits);
  divergence.end_stage();
  EXPECT_EQ(divergence.result(), 0.0);
}

TEST(OutputDivergence, OneRegionByHand) {
  // p = (3/4, 1/4), q = (1/2, 1/2); an object with probability 3/4, its box off by (1, 0, 0, 2).
  const double kl = 0.75 * std::log(1.5) + 0.25 * std::log(0.5), boxes = 0.75 * 5.0 / 2.0;
  EXPECT_NEAR(classes({std::log(3.0f), 0.0f}, {1.0f, 1.0f}, 2, {0, 0, 0, 0}, {1, 0, 0, 2}), kl + boxes, 1e-6);
  // The same of boxes for every class: each counts with its own probability.
  const Values p = {std::log(2.0f), 0.0f, 0.0f};  // 1/2, 1/4, none 1/4
  EXPECT_NEAR(classes(p, p, 3, Values(8), {1, 0, 0, 0, 0, 0, 0, 2}), 0.5 * 0.5 + 0.25 * 2.0, 1e-6);
}

TEST(OutputDivergence, IsPerObject) {
  const Values one = {4.0f, 0.0f}, other = {3.0f, 0.0f}, none(4, 0.0f);
  Values ten, ten_other;
  for (int i = 0; i < 10; ++i) {
    ten.insert(ten.end(), one.begin(), one.end());
    ten_other.insert(ten_other.end(), other.begin(), other.end());
  }
  const double ten_regions = classes(ten, ten_other, 2, Values(40), Values(40));
  // One region is no whole object, which is the least that is divided by.
  const double object = std::exp(4.0) / (std::exp(4.0) + 1.0);
  EXPECT_NEAR(ten_regions * object, classes(one, other, 2, none, none), 1e-9);
}

TEST(OutputDivergence, BinaryAnswers) {
  OutputDivergence divergence;
  const double p = 1.0 / (1.0 + std::exp(-2.0)), q = 1.0 / (1.0 + std::exp(1.0));
  const double kl = p * std::log(p / q) + (1.0 - p) * std::log((1.0 - p) / (1.0 - q));
  divergence.add_masks(Values{2.0f, 0.0f}, Values{-1.0f, 0.0f});
  divergence.end_stage();
  EXPECT_NEAR(divergence.result(), kl / 2.0, 1e-9);  // the mean over pixels
  divergence.add_objectness(Values{2.0f}, Values{-1.0f}, Values{0, 0, 0, 0}, Values{0, 1, 0, 0});
  divergence.end_stage();
  EXPECT_NEAR(divergence.result(), kl / 2.0 + kl + p / 2.0, 1e-9);  // stages add up
}

TEST(OutputDivergence, GrowsWithTheSquareOfSmallErrorsAndStaysFiniteForLargeOnes) {
  const auto of = [](float error) {
    return classes({1.0f, 0.0f, -1.0f}, {1.0f + error, -error, -1.0f}, 3, {0, 0, 0, 0}, {error, 0, 0, 0});
  };
  EXPECT_NEAR(of(0.02f) / of(0.01f), 4.0, 0.1);
  EXPECT_TRUE(std::isfinite(classes({1e4f, -1e4f}, {-1e4f, 1e4f}, 2, Values(4), Values(4))));
  EXPECT_TRUE(std::isnan(of(std::numeric_limits<float>::quiet_NaN())));
}

TEST(OutputDivergence, NoRegionsAreNoError) { EXPECT_EQ(classes({}, {}, 3, {}, {}), 0.0); }

}  // namespace
}  // namespace igq
