// The paper's order of settings on a real model: ViT-S/14 on CIFAR-10, W4/A4, the same 32 calibration images, test
// images that calibration never saw. Needs the data beside the project.
#include <gtest/gtest.h>

#include "io/preprocess.h"
#include "pipeline/quantize_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

TEST(SharedAccuracy, GroupingsRankAsInThePaper) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  LoadedModel model = load_model(shared / "data/vit_small_patch14_cifar10");
  const CalibrationSet calibration =
      calibration_from_files(*model.model, choose_samples(list_images(shared / "data/cifar10/calibration"), 32, 0));
  const std::vector<Sample> samples = choose_samples(list_images(shared / "data/cifar10/test"), 150, 0);
  ThreadPool pool;
  struct Result {
    double snr = 0.0;
    double agreement = 0.0;  // percent
  };
  auto measure = [&](Grouping grouping, int groups) {
    QuantizeJob job;
    job.options.weight_bits = job.options.activation_bits = 4;
    job.options.grouping = grouping;
    job.options.groups = groups;
    quantize_model(model, calibration, job, best_isa(), 0, 0);
    CompareOptions options;
    options.test = Execution::kInteger;
    options.alone = false;
    const Comparison c = compare_models(*model.model, *model.model, options, best_isa(), pool,
                                        static_cast<std::int64_t>(samples.size()), [&](std::int64_t i, float* image) {
                                          const ModelConfig& config = model.model->config();
                                          preprocess_file(samples[static_cast<std::size_t>(i)].path, config.preprocess,
                                                          config.image_height, config.image_width, image);
                                        });
    return Result{c.logits_snr, 100.0 * static_cast<double>(c.agreements) / static_cast<double>(c.images)};
  };
  const Result layer = measure(Grouping::kLayer, 1), igq8 = measure(Grouping::kIgq, 8),
               igq12 = measure(Grouping::kIgq, 12), upper = measure(Grouping::kUpperBound, 1);
  RecordProperty("layer_db", std::to_string(layer.snr));
  RecordProperty("igq8_db", std::to_string(igq8.snr));
  RecordProperty("igq12_db", std::to_string(igq12.snr));
  RecordProperty("upper_db", std::to_string(upper.snr));
  EXPECT_GT(igq8.agreement, layer.agreement + 30.0);
  EXPECT_GT(igq8.snr, layer.snr + 5.0);
  EXPECT_GT(igq12.snr, igq8.snr);
  EXPECT_GT(upper.snr, igq12.snr);
  EXPECT_GT(upper.agreement, igq8.agreement);
}

}  // namespace
}  // namespace igq
