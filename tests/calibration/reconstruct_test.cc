// Reconstruction on small models: nearer to the float model's blocks, the same bytes for any number of threads, what it
// reports is what the model has, and a time limit that leaves a usable model.
#include "calibration/reconstruct.h"

#include <cmath>
#include <gtest/gtest.h>

#include "models/load_model.h"
#include "models/runner.h"
#include "tests/calibration/small_vit.h"
#include "tests/test_util.h"

namespace igq {
namespace {

struct Reconstructed {
  std::unique_ptr<Model> model;
  std::shared_ptr<QuantizationPlan> plan;
  std::vector<float> before, after;  // logits of the simulated model on the calibration images
  // Activations after each block: of the simulated model before and after, of the float model.
  std::vector<std::vector<float>> features_before, features_after, features_float;
  std::vector<std::vector<float>> scales;
  Reconstruction result;
};

/// What each step before the last leaves, of all images: the embedding, then block by block.
std::vector<std::vector<float>> features_of(Model& model, std::int64_t images, Execution execution) {
  Runner runner(model, execution, best_isa(), 1);
  std::vector<float> image(static_cast<std::size_t>(model.image_floats()));
  std::vector<std::vector<float>> all(static_cast<std::size_t>(model.steps() - 1));
  for (std::int64_t i = 0; i < images; ++i) {
    test::small_image(model, i, image.data());
    StepState state;
    state.image = image.data();
    for (int step = 0; step + 1 < model.steps(); ++step) {
      runner.context().arena.reset();
      model.run_step(runner.context(), step, state);
      auto& features = all[static_cast<std::size_t>(step)];
      features.insert(features.end(), state.x.begin(), state.x.end());
    }
  }
  return all;
}

Reconstructed reconstruct(std::unique_ptr<Model> model, Model& original, const ReconstructOptions& options, int threads,
                          std::int64_t images) {
  auto load = [&](std::int64_t i, float* image) { test::small_image(original, i, image); };
  ThreadPool pool(threads);
  QuantizeOptions quantize = preset_options(Preset::kBest);
  quantize.weights = WeightMethod::kGptq;
  quantize.weight_bits = 3;
  quantize.activation_bits = 6;
  quantize.views = 2;
  Reconstructed o;
  o.model = std::move(model);
  {
    Runner runner(*o.model, Execution::kFloat, best_isa(), threads);
    o.plan = std::make_shared<QuantizationPlan>(
        make_plan(*o.model, collect_statistics(runner, images, 0, load), quantize, pool));
  }
  refine_weights(*o.model, o.plan, quantize, images, load, best_isa(), pool);
  o.features_float = features_of(original, images, Execution::kFloat);
  o.features_before = features_of(*o.model, images, Execution::kSimulate);
  o.before = test::logits_of(*o.model, Execution::kSimulate, images);
  o.result = reconstruct_blocks(*o.model, o.plan, original, options, images, load, best_isa(), pool);
  o.after = test::logits_of(*o.model, Execution::kSimulate, images);
  o.features_after = features_of(*o.model, images, Execution::kSimulate);
  for (const auto& [name, linear] : o.plan->linears) o.scales.push_back(linear.weight.scale);
  return o;
}

ReconstructOptions small_options() {
  ReconstructOptions options;
  options.views = 2;
  options.epochs = 4;
  options.batch = 4;
  return options;
}

Reconstructed reconstruct_vit(const ReconstructOptions& options, int threads,
                              std::int64_t images = test::kSmallImages) {
  const std::unique_ptr<Model> original = test::small_vit();
  return reconstruct(test::small_vit(), *original, options, threads, images);
}

TEST(Reconstruct, BringsBlocksNearerToFloat) {
  const Reconstructed o = reconstruct_vit(small_options(), 2, 24);
  ASSERT_EQ(o.result.blocks.size(), 2u);
  EXPECT_EQ(o.result.blocks[0].block, "blocks.0");
  EXPECT_FALSE(o.result.out_of_time);
  EXPECT_GT(o.result.bytes, 0u);
  for (const BlockReconstruction& b : o.result.blocks)
    EXPECT_TRUE(b.kept) << b.block << ": " << b.before << " -> " << b.after;
  EXPECT_EQ(o.result.vectors.size(), 16u) << "two norms of two vectors and four biases per block";
  // What the blocks say of themselves, held to what the model then computes.
  ASSERT_EQ(o.features_float.size(), 3u);
  EXPECT_EQ(o.features_after[0], o.features_before[0]) << "the embedding is no block";
  for (std::size_t step = 1; step < o.features_float.size(); ++step)
    EXPECT_LT(test::squared_distance(o.features_after[step], o.features_float[step]),
              test::squared_distance(o.features_before[step], o.features_float[step]))
        << "block " << step - 1;
  EXPECT_NE(o.before, o.after);
}

TEST(Reconstruct, DoesNotDependOnThreads) {
  const Reconstructed one = reconstruct_vit(small_options(), 1), three = reconstruct_vit(small_options(), 3);
  EXPECT_EQ(one.after, three.after);
  EXPECT_EQ(one.scales, three.scales);
  ASSERT_EQ(one.result.vectors.size(), three.result.vectors.size());
  for (const auto& [name, values] : one.result.vectors)
    EXPECT_TRUE(std::equal(values.begin(), values.end(), three.result.vectors.at(name).begin())) << name;
}

TEST(Reconstruct, ReportsWhatTheModelHas) {
  const Reconstructed o = reconstruct_vit(small_options(), 1);
  const BlockParts block = *o.model->block_parts(1);
  const auto& gamma = o.result.vectors.at("blocks.0.norm1.weight");
  EXPECT_TRUE(std::equal(gamma.begin(), gamma.end(), block.norm1->gamma.begin()));
  const auto& bias = o.result.vectors.at("blocks.0.mlp.fc2.bias");
  EXPECT_TRUE(std::equal(bias.begin(), bias.end(), block.mlp->fc2.bias().begin()));
}

TEST(Reconstruct, ABlockThatGetsWorseIsLeftAsItWas) {
  ReconstructOptions options = small_options();
  options.rate = 10.0;  // steps ten times as large as the parameters
  const Reconstructed o = reconstruct_vit(options, 1);
  for (const BlockReconstruction& b : o.result.blocks) EXPECT_FALSE(b.kept);
  EXPECT_TRUE(o.result.vectors.empty());
  EXPECT_EQ(o.before, o.after);
}

TEST(Reconstruct, StopsInTime) {
  ReconstructOptions options = small_options();
  options.minutes = 1e-9;
  const Reconstructed o = reconstruct_vit(options, 1);
  EXPECT_TRUE(o.result.out_of_time);
  EXPECT_EQ(o.before, o.after);
}

TEST(Reconstruct, NeedsCodedWeights) {
  const std::unique_ptr<Model> model = test::small_vit(), original = test::small_vit();
  ThreadPool pool(1);
  auto load = [&](std::int64_t i, float* image) { test::small_image(*model, i, image); };
  EXPECT_THROW(reconstruct_blocks(*model, std::make_shared<QuantizationPlan>(), *original, small_options(), 2, load,
                                  best_isa(), pool),
               Error);
}

TEST(Reconstruct, SwinWithShiftedAndPaddedWindows) {
  for (const char* name : {"swin_shift", "swin_pad"}) {
    LoadedModel loaded = load_model(test::fixtures() / "models" / name),
                original = load_model(test::fixtures() / "models" / name);
    const Reconstructed o = reconstruct(std::move(loaded.model), *original.model, small_options(), 2, 4);
    EXPECT_GE(o.result.blocks.size(), 2u);
    EXPECT_TRUE(o.result.blocks[0].kept) << name << ": " << o.result.blocks[0].before << " -> "
                                         << o.result.blocks[0].after;
    for (const float v : o.after) EXPECT_TRUE(std::isfinite(v));
  }
}

}  // namespace
}  // namespace igq
