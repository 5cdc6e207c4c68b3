// The rough time of a dry run: by hand for one layer, and what must make it longer.
#include "pipeline/quantize_time.h"

#include <gtest/gtest.h>

namespace igq {
namespace {

QuantizeOptions options_of(WeightMethod weights, int views, bool never_worse) {
  QuantizeOptions options;
  options.weights = weights;
  options.views = views;
  options.never_worse = never_worse;
  return options;
}

TEST(QuantizeTime, CountsPassesAndWhatIsSolved) {
  SiteShape layer;
  layer.name = "fc";
  layer.rows = 100;
  layer.in = 30;
  layer.out = 50;
  const std::vector<SiteShape> shapes{layer};
  QuantizeWork work;
  work.images = 8;
  work.judged = 2;
  work.trials = 5;
  work.pass_seconds = 0.5;
  const QuantizeOptions nearest = options_of(WeightMethod::kNearest, 4, false);
  // Two passes for the ranges of each image, four for each that judges, the trials.
  EXPECT_DOUBLE_EQ(predicted_seconds(shapes, nearest, work), 0.5 * (2 * 8 + 4 * 2 + 5));
  EXPECT_DOUBLE_EQ(predicted_seconds(shapes, options_of(WeightMethod::kNearest, 4, true), work) -
                       predicted_seconds(shapes, nearest, work),
                   0.5 * 3 * 8);
  // Views are rounded with; 30^2 (30 + 50) multiply-adds are solved for a layer of 100 x 30 x 50.
  const double solving = 25.0 * (900.0 * 80.0) / 150000.0;
  EXPECT_NEAR(predicted_seconds(shapes, options_of(WeightMethod::kGptq, 4, false), work) -
                  predicted_seconds(shapes, nearest, work),
              0.5 * (14 * 4 * 8 + solving), 1e-9);
  work.most_inputs = 29;
  EXPECT_NEAR(predicted_seconds(shapes, options_of(WeightMethod::kGptq, 1, false), work) -
                  predicted_seconds(shapes, nearest, work),
              0.5 * 14 * 8, 1e-9);
}

}  // namespace
}  // namespace igq
