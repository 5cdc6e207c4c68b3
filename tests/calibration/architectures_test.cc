// The best preset on every kind of network there is a fixture of: windows, missing biases, gated MLPs, distilled heads.
// The fixtures' weights are random, so only what must hold for any weights is checked.
#include <cmath>
#include <gtest/gtest.h>

#include "calibration/balance.h"
#include "calibration/refine.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "tests/calibration/small_vit.h"
#include "tests/test_util.h"

namespace igq {
namespace {

class Architectures : public testing::TestWithParam<const char*> {};

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double gap = 0.0, size = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    gap += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(gap / size);
}

TEST_P(Architectures, BestPresetAtEightBitsStaysNearFloat) {
  LoadedModel loaded = load_model(test::fixtures() / "models" / GetParam());
  Model& model = *loaded.model;
  const std::vector<float> exact = test::logits_of(model, Execution::kFloat);
  QuantizeOptions options = preset_options(Preset::kBest);
  options.weight_bits = options.activation_bits = 8;
  options.views = 2;
  auto load = [&](std::int64_t i, float* image) { test::small_image(model, i, image); };
  ThreadPool pool(2);
  model.prepare(Execution::kFloat, kernels::kernels_for(best_isa()));
  balance_queries_and_keys(model, options, 4, load, best_isa(), pool);
  EXPECT_LT(relative_distance(exact, test::logits_of(model, Execution::kFloat)), 1e-3)
      << "balancing must not change the float model";
  auto plan = std::make_shared<QuantizationPlan>();
  {
    Runner runner(model, Execution::kFloat, best_isa(), 1);
    *plan = make_plan(model, collect_statistics(runner, 4, 0, load), options, pool);
  }
  refine_weights(model, plan, options, 4, load, best_isa(), pool);
  EXPECT_LT(relative_distance(exact, test::logits_of(model, Execution::kSimulate)), 0.1);
  EXPECT_LT(relative_distance(exact, test::logits_of(model, Execution::kInteger)), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Architectures,
                         testing::Values("vit_token", "vit_qkv_nobias", "vit_swiglu", "vit_avg", "vit_nonsquare",
                                         "deit_distilled", "deit3", "vit_clip", "hf_dinov2_swiglu", "swin_basic",
                                         "swin_shift", "swin_pad", "swin_nonsquare"));

}  // namespace
}  // namespace igq
