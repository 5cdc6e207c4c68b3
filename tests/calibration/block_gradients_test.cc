// Hand-written gradients against central differences of the model's own forward pass, on blocks of every kind there is
// a fixture of: LayerScale, gated MLPs, missing biases, windows that are shifted and padded. Weights are coded (so that
// gains are scales of codes), activations stay float (so that the loss is smooth).
#include "calibration/block_gradients.h"

#include <cmath>
#include <gtest/gtest.h>

#include "base/random.h"
#include "calibration/calibrate.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "tests/calibration/small_vit.h"
#include "tests/test_util.h"

namespace igq {
namespace {

/// A plan that codes the weights of all layers but the first and last, and no activation.
std::shared_ptr<QuantizationPlan> weights_only(Model& model) {
  QuantizeOptions options;
  options.weight_bits = 4;
  options.first_last_bits = 32;
  ThreadPool pool(1);
  Runner runner(model, Execution::kFloat, best_isa(), 1);
  auto load = [&](std::int64_t i, float* image) { test::small_image(model, i, image); };
  auto plan =
      std::make_shared<QuantizationPlan>(make_plan(model, collect_statistics(runner, 2, 0, load), options, pool));
  plan->attentions.clear();
  for (auto& [name, linear] : plan->linears) linear.input = {};
  return plan;
}

/// One block of a model, the input of one image to it, and the loss sum(direction * output).
class Block {
 public:
  Block(Model& model, int step)
      : model_(model), step_(step), parts_(*model.block_parts(step)), plan_(weights_only(model)) {
    context_.kernels = &kernels::kernels_for(best_isa());
    context_.execution = Execution::kSimulate;
    model_.set_plan(plan_);
    model_.prepare(Execution::kSimulate, *context_.kernels);
    std::vector<float> image(static_cast<std::size_t>(model.image_floats()));
    test::small_image(model, 1, image.data());
    input_.image = image.data();
    for (int s = 0; s < step; ++s) model_.run_step(context_, s, input_);
    Random random(7);
    direction_.resize(input_.x.size());
    for (float& d : direction_) d = static_cast<float>(random.normal());
  }

  const BlockParts& parts() const { return parts_; }
  const kernels::Kernels& kernels() const { return *context_.kernels; }

  double loss(SiteObserver* observer = nullptr) {
    StepState state = input_;
    context_.arena.reset();
    context_.observer = observer;
    model_.run_step(context_, step_, state);
    context_.observer = nullptr;
    double sum = 0.0;
    for (std::size_t i = 0; i < direction_.size(); ++i)
      sum += static_cast<double>(direction_[i]) * static_cast<double>(state.x[i]);
    return sum;
  }

  std::vector<float> gradient(const BlockGradients& gradients) {
    BlockTape tape(parts_);
    tape.begin({input_.x.data(), input_.x.size()}, input_.tokens);
    loss(&tape);
    std::vector<float> result(gradients.size());
    const std::vector<float> gain(gradients.size(), 1.0f);
    gradients.backward(tape, direction_.data(), gain, context_.arena, result.data());
    return result;
  }

  /// Loss with parameter i of a part moved by `by` (gains: multiplied by 1 + by).
  double moved(BlockPart part, std::size_t i, float by) {
    switch (part) {
      case BlockPart::kGamma1:
        return moved(parts_.norm1->gamma[i], by);
      case BlockPart::kBeta1:
        return moved(parts_.norm1->beta[i], by);
      case BlockPart::kGamma2:
        return moved(parts_.mlp->norm.gamma[i], by);
      case BlockPart::kBeta2:
        return moved(parts_.mlp->norm.beta[i], by);
      case BlockPart::kQkvBias:
        return moved_bias(*parts_.qkv, i, by);
      case BlockPart::kProjBias:
        return moved_bias(*parts_.proj, i, by);
      case BlockPart::kFc1Bias:
        return moved_bias(parts_.mlp->fc1, i, by);
      case BlockPart::kFc2Bias:
        return moved_bias(parts_.mlp->fc2, i, by);
      case BlockPart::kQkvGain:
        return moved_gain(*parts_.qkv, i, by);
      case BlockPart::kProjGain:
        return moved_gain(*parts_.proj, i, by);
      case BlockPart::kFc1Gain:
        return moved_gain(parts_.mlp->fc1, i, by);
      case BlockPart::kFc2Gain:
        return moved_gain(parts_.mlp->fc2, i, by);
    }
    return 0.0;
  }

 private:
  double moved(float& value, float by) {
    const float before = value;
    value += by;
    const double result = loss();
    value = before;
    return result;
  }
  double moved_bias(Linear& linear, std::size_t i, float by) {
    std::vector<float> bias(linear.bias().begin(), linear.bias().end());
    bias[i] += by;
    linear.set_bias(bias);
    const double result = loss();
    bias[i] -= by;
    linear.set_bias(bias);
    return result;
  }
  double moved_gain(Linear& linear, std::size_t i, float by) {
    float& scale = plan_->linears.at(linear.name()).weight.scale[i];
    const float before = scale;
    const auto attach = [&] {
      linear.set_plan(std::shared_ptr<const LinearPlan>(plan_, &plan_->linears.at(linear.name())));
      linear.prepare(Execution::kSimulate, *context_.kernels);
    };
    scale *= 1.0f + by;
    attach();
    const double result = loss();
    scale = before;
    attach();
    return result;
  }

  Model& model_;
  int step_;
  BlockParts parts_;
  std::shared_ptr<QuantizationPlan> plan_;
  ExecContext context_;
  StepState input_;
  std::vector<float> direction_;
};

struct Case {
  const char* model;
  int step;  // of the block
};

class BlockGradientsOf : public testing::TestWithParam<Case> {};

TEST_P(BlockGradientsOf, AreCentralDifferences) {
  LoadedModel loaded = load_model(test::fixtures() / "models" / GetParam().model);
  Block block(*loaded.model, GetParam().step);
  const BlockGradients gradients(block.parts(), block.kernels());
  const std::vector<float> exact = block.gradient(gradients);
  for (int p = 0; p < kBlockParts; ++p) {
    const auto part = static_cast<BlockPart>(p);
    const std::size_t begin = gradients.begin(part), end = gradients.end(part);
    double largest = 0.0;
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(static_cast<double>(exact[i])));
    if (begin < end) {
      EXPECT_GT(largest, 0.0) << "part " << p;
    }
    constexpr float kStep = 0x1.0p-6f;
    for (std::size_t i = begin; i < end; i += std::max<std::size_t>(1, (end - begin) / 7)) {
      const double difference = (block.moved(part, i - begin, kStep) - block.moved(part, i - begin, -kStep)) /
                                (2.0 * static_cast<double>(kStep));
      // Third derivatives times the squared step, and float sums over the step: both well below a hundredth.
      EXPECT_NEAR(static_cast<double>(exact[i]), difference, 0.01 * largest + 1e-3)
          << "part " << p << ", parameter " << i - begin;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, BlockGradientsOf,
                         testing::Values(Case{"vit_token", 1}, Case{"vit_qkv_nobias", 2}, Case{"vit_swiglu", 1},
                                         Case{"deit3", 1}, Case{"vit_clip", 1}, Case{"hf_dinov2_swiglu", 1},
                                         Case{"swin_shift", 2}, Case{"swin_pad", 1}, Case{"swin_pad", 2}),
                         [](const auto& which) {
                           return std::string(which.param.model) + "_" + std::to_string(which.param.step);
                         });

}  // namespace
}  // namespace igq
