// Whole real models: integers, on the fused path from qkv through attention to proj and through the MLP, give the very
// bits of their simulation. Needs the data beside the project.
#include <gtest/gtest.h>

#include "io/preprocess.h"
#include "pipeline/quantize_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

void expect_same_logits(const char* model_name, const char* images) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  LoadedModel loaded = load_model(shared / "data" / model_name);
  const CalibrationSet calibration = calibration_from_files(
      *loaded.model, choose_samples(list_images(shared / "data" / images / "calibration"), 3, 0));
  const std::vector<Sample> samples = choose_samples(list_images(shared / "data" / images / "test"), 4, 0);
  for (const Preset preset : {Preset::kBest, Preset::kPaper})
    for (const auto& [weight_bits, bits] : {std::pair{8, 8}, {4, 4}}) {
      QuantizeJob job;
      job.options = preset_options(preset);
      job.options.weights = WeightMethod::kNearest;
      job.options.balance = false;
      job.options.weight_bits = weight_bits;
      job.options.activation_bits = bits;
      quantize_model(loaded, calibration, job, best_isa(), 0, 0);
      Model& model = *loaded.model;
      std::vector<float> image(static_cast<std::size_t>(model.image_floats()));
      for (const Sample& sample : samples) {
        const ModelConfig& config = model.config();
        preprocess_file(sample.path, config.preprocess, config.image_height, config.image_width, image.data());
        std::vector<float> logits[2];
        for (const Execution execution : {Execution::kSimulate, Execution::kInteger}) {
          Runner runner(model, execution, best_isa(), execution == Execution::kInteger ? 2 : 1);
          const auto got = runner.run(image.data());
          logits[execution == Execution::kInteger].assign(got.begin(), got.end());
        }
        ASSERT_FALSE(logits[0].empty());
        ASSERT_EQ(logits[0], logits[1]) << preset_name(preset) << ", w" << weight_bits << "a" << bits << ", "
                                        << sample.path;
      }
    }
}

TEST(SharedExact, SimulationIsTheIntegersOnCifar) { expect_same_logits("vit_small_patch14_cifar10", "cifar10"); }

TEST(SharedExact, SimulationIsTheIntegersOnTextiles) { expect_same_logits("dinov2_s14_textile", "textile"); }

}  // namespace
}  // namespace igq
