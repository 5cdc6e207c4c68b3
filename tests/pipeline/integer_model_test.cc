// Whole models in integers: the bits of their simulation, site by site from the same inputs and as wholes, and the same
// bits on every instruction set, for any number of threads and any batch size.
#include <gtest/gtest.h>

#include "eval/benchmark.h"
#include "pipeline/quantize_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

class OutputOf final : public SiteObserver {
 public:
  explicit OutputOf(int site) : site_(site) {}
  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) override {
    if (site != site_ || operand != Operand::kOutput) return;
    for (std::int64_t r = 0; r < rows; ++r) values.insert(values.end(), x + r * ld, x + r * ld + cols);
  }
  std::vector<float> values;

 private:
  int site_;
};

struct Setting {
  Grouping grouping;
  int bits;
  void (*edit)(QuantizeOptions&) = [](QuantizeOptions&) {};
};

class IntegerModel : public ::testing::TestWithParam<std::string> {
 protected:
  LoadedModel quantized(const Setting& setting) const {
    LoadedModel model = load_model(test::fixtures() / "models" / GetParam());
    QuantizeJob job;
    job.options.weight_bits = job.options.activation_bits = setting.bits;
    job.options.grouping = setting.grouping;
    job.options.groups = 5;
    setting.edit(job.options);
    quantize_model(model, synthetic_calibration(*model.model, 4, 1), job, best_isa(), 1, 0);
    return model;
  }
  const std::vector<Setting> settings_ = {
      {Grouping::kLayer, 8},
      {Grouping::kStaticGroup, 4},
      {Grouping::kIgq, 4},
      {Grouping::kIgq, 8},
      {Grouping::kScale, 3},
      {Grouping::kScale, 8},
      {Grouping::kUpperBound, 4},
      {Grouping::kScale, 4, [](QuantizeOptions& o) { o.integer_ratios = true; }},
      {Grouping::kScale, 8, [](QuantizeOptions& o) { o.integer_ratios = true; }},
      // Everything beside the grouping: bounds, softmax, q/k/v, weights.
      {Grouping::kIgq, 4,
       [](QuantizeOptions& o) {
         o.bounds = GroupBounds::kEnvelope, o.softmax_grouping = Grouping::kUpperBound, o.weight_groups = 8;
       }},
      {Grouping::kIgq, 6,
       [](QuantizeOptions& o) { o.bounds = GroupBounds::kMse, o.qkv_grouping = QkvGrouping::kTensor; }},
      {Grouping::kScale, 4,
       [](QuantizeOptions& o) { o.qkv_grouping = QkvGrouping::kHead, o.softmax_grouping = Grouping::kStaticGroup; }},
      {Grouping::kScale, 2, [](QuantizeOptions& o) {
         o = preset_options(Preset::kBest), o.weight_bits = 2, o.activation_bits = 8, o.weight_groups = 8, o.views = 1;
       }}};
};

TEST_P(IntegerModel, EverySiteGivesWhatItsSimulationGives) {
  const kernels::Kernels& kernels = kernels::kernels_for(best_isa());
  for (const Setting& setting : settings_) {
    const LoadedModel loaded = quantized(setting);
    Model& model = *loaded.model;
    for (const Execution e : {Execution::kFloat, Execution::kSimulate, Execution::kInteger}) model.prepare(e, kernels);
    const AlignedBuffer<float> image = synthetic_images(model.config(), 1, 7);
    ExecContext context;
    context.kernels = &kernels;
    StepState state;
    state.image = image.data();
    for (int step = 0; step < model.steps(); ++step) {
      for (std::size_t s = 0; s < model.sites().size(); ++s) {
        if (model.sites()[s].step != step) continue;
        std::vector<float> outputs[2];
        for (int i = 0; i < 2; ++i) {
          OutputOf output(static_cast<int>(s));
          StepState copy = state;
          context.site_execution.assign(model.sites().size(), Execution::kFloat);
          context.site_execution[s] = i == 0 ? Execution::kSimulate : Execution::kInteger;
          context.observer = &output;
          context.arena.reset();
          model.run_step(context, step, copy);
          outputs[i] = std::move(output.values);
        }
        ASSERT_FALSE(outputs[0].empty());
        ASSERT_EQ(outputs[0], outputs[1])
            << model.sites()[s].name << ", " << grouping_name(setting.grouping) << ", " << setting.bits << " bits";
      }
      context.observer = nullptr;
      context.site_execution.clear();
      context.execution = Execution::kFloat;
      context.arena.reset();
      model.run_step(context, step, state);
    }
  }
}

/// Runners leave out what logits do not depend on.
TEST_P(IntegerModel, SameLogitsWhetherOrNotUnreadTokensAreComputed) {
  for (const Setting& setting : {settings_[3], settings_[5], settings_[8]}) {
    const LoadedModel loaded = quantized(setting);
    const AlignedBuffer<float> image = synthetic_images(loaded.model->config(), 1, 7);
    for (const Execution execution : {Execution::kFloat, Execution::kSimulate, Execution::kInteger}) {
      Runner runner(*loaded.model, execution, best_isa(), 1);
      ExecContext context;
      context.kernels = &kernels::kernels_for(best_isa());
      context.execution = execution;
      StepState state;
      loaded.model->forward(context, image.data(), state);
      const std::span<const float> logits = runner.run(image.data());
      ASSERT_EQ(logits.size(), state.logits.size());
      for (std::size_t i = 0; i < logits.size(); ++i)
        ASSERT_EQ(logits[i], state.logits[i]) << execution_name(execution) << ", logit " << i;
    }
  }
}

TEST_P(IntegerModel, SameBitsWhateverTheInstructionsThreadsAndBatch) {
  constexpr std::int64_t kImages = 5;
  for (const Setting& setting : settings_) {
    const LoadedModel loaded = quantized(setting);
    Model& model = *loaded.model;
    const AlignedBuffer<float> images = synthetic_images(model.config(), kImages, 3);
    const std::int64_t classes = model.config().num_classes;
    std::vector<float> expected;
    {
      Runner runner(model, Execution::kInteger, Isa::kReference, 1);
      for (std::int64_t i = 0; i < kImages; ++i) {
        const auto logits = runner.run(images.data() + i * model.image_floats());
        expected.insert(expected.end(), logits.begin(), logits.end());
      }
    }
    for (const int threads : {1, 2}) {
      Runner runner(model, Execution::kSimulate, best_isa(), threads);
      std::vector<float> simulated(static_cast<std::size_t>(kImages * classes));
      runner.run_batch(images.data(), kImages, simulated.data());
      EXPECT_EQ(simulated, expected) << "simulated, " << grouping_name(setting.grouping) << ", " << setting.bits;
    }
    for (const Isa isa : supported_isas())
      for (const int threads : {1, 2, 3}) {
        Runner runner(model, Execution::kInteger, isa, threads);
        std::vector<float> actual(static_cast<std::size_t>(kImages * classes));
        runner.run_batch(images.data(), kImages, actual.data());
        EXPECT_EQ(actual, expected) << isa_name(isa) << ", " << threads << " threads, "
                                    << grouping_name(setting.grouping) << ", " << setting.bits << " bits";
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, IntegerModel,
                         ::testing::Values("vit_token", "vit_dinov2", "deit_distilled", "vit_swiglu", "swin_basic",
                                           "swin_pad"),
                         [](const auto& fixture) { return fixture.param; });

}  // namespace
}  // namespace igq
