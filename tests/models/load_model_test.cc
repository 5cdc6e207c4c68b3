// load_model on .igq files, and models of random weights.
#include "models/load_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/registry.h"
#include "models/runner.h"
#include "tests/models/checkpoint_files.h"
#include "tests/models/tiny_igq.h"

namespace igq {
namespace {

using test::load_error;

TEST(LoadModel, QuantizedFile) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "tiny.igq";
  const QuantizedModel stored = test::tiny_igq();
  save_igq(path, stored, false);
  const LoadedModel loaded = load_model(path);
  EXPECT_TRUE(loaded.quantized);
  EXPECT_EQ(loaded.name, "tiny.igq");
  EXPECT_EQ(loaded.provenance, stored.provenance);
  EXPECT_EQ(loaded.report, stored.report);
  EXPECT_EQ(loaded.model->config().labels, stored.config.labels);
  ASSERT_NE(loaded.model->plan(), nullptr);
  EXPECT_EQ(loaded.model->plan()->linears.size(), stored.plan.linears.size());
  EXPECT_FALSE(loaded.tensors->has("head.weight"));
  for (const float v : test::logits_of(loaded)) EXPECT_TRUE(std::isfinite(v));  // dequantized weights

  EXPECT_SAYS(load_error(path, {.architecture = "vit_tiny_patch16_224"}), "--arch does not apply");
  EXPECT_SAYS(load_error(path, {.architecture = "", .image_height = 16, .image_width = 16}),
              "--img-size does not apply");
}

TEST(LoadModel, CodesThatHaveBeenPackedAreFreed) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "tiny.igq";
  QuantizedModel stored = test::tiny_igq();
  ActivationPlan& input = stored.plan.linears.at("blocks.0.mlp.fc1").input;
  input.grouping = Grouping::kScale;
  input.bits = 4;
  input.groups = {{0.0f, 15.0f * 0.1f}, {0.0f, 15.0f * 0.3f}};
  input.multiples = {1, 3};
  input.unit = 0.1f;
  save_igq(path, stored, false);
  const auto logits = [&](LoadedModel& loaded) {
    Runner runner(*loaded.model, Execution::kInteger, best_isa(), 1);
    const std::vector<float> image(static_cast<std::size_t>(loaded.model->image_floats()), 0.5f);
    const std::span<const float> result = runner.run(image.data());
    return std::vector<float>(result.begin(), result.end());
  };
  LoadedModel whole = load_model(path), lean = load_model(path);
  lean.prepare_only(Execution::kInteger, kernels::kernels_for(best_isa()));
  EXPECT_TRUE(lean.model->plan()->linears.at("blocks.0.mlp.fc1").weight.codes.empty());
  EXPECT_TRUE(lean.model->plan()->linears.at("head").weight.codes.empty());  // its quantizers are fixed
  EXPECT_FALSE(
      lean.model->plan()->linears.at("blocks.0.attn.qkv").weight.codes.empty());  // its order depends on the image
  EXPECT_EQ(logits(lean), logits(whole));
}

TEST(LoadModel, QuantizedFileOfAnotherName) {
  const test::TemporaryFolder folder;
  save_igq(folder.path() / "model.bin", test::tiny_igq(), false);
  EXPECT_TRUE(load_model(folder.path() / "model.bin").quantized);
  std::ofstream(folder.path() / "text.igq") << "hello";
  EXPECT_SAYS(load_error(folder.path() / "text.igq"), "is not an .igq file");
}

TEST(LoadModel, FaultsOfThePlanNameTheFile) {
  const test::TemporaryFolder folder;
  QuantizedModel model = test::tiny_igq();
  model.plan.attentions["blocks.9.attn"] = model.plan.attentions.at("blocks.0.attn");
  save_igq(folder.path() / "a.igq", model, false);
  const std::string text = load_error(folder.path() / "a.igq");
  EXPECT_SAYS(text, "a.igq");
  EXPECT_SAYS(text, "blocks.9.attn");
}

TEST(LoadModel, NameOfAFolder) {
  test::EditedFixture fixture("vit_token");
  EXPECT_EQ(load_model(fixture.path()).name, "vit_token");
  EXPECT_EQ(load_model(fixture.path() / "").name, "vit_token");
  EXPECT_EQ(load_model(fixture.path() / ".").name, "vit_token");
}

TEST(RandomModel, TheSameSeedGivesTheSameModel) {
  for (const char* name : {"vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"}) {
    ModelConfig config = architecture_config(name);
    config.image_height = config.image_width = 64;
    config.swin.depths = {2, 2};  // smaller, so that the test is quick
    config.swin.num_heads = {3, 6};
    const LoadedModel a = random_model(config, 7), b = random_model(config, 7), c = random_model(config, 8);
    EXPECT_EQ(a.name, name);
    EXPECT_FALSE(a.quantized);
    EXPECT_EQ(a.tensors->shapes(), expected_tensors(config));
    EXPECT_EQ(checkpoint_checksum(*a.tensors), checkpoint_checksum(*b.tensors));
    EXPECT_NE(checkpoint_checksum(*a.tensors), checkpoint_checksum(*c.tensors));
    const auto logits = test::logits_of(a);
    EXPECT_EQ(logits, test::logits_of(b));
    const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
    EXPECT_GT(*high - *low, 0.5f) << name;
    EXPECT_LT(std::max(*high, -*low), 50.0f) << name;
  }
}

TEST(RandomModel, WeightsHaveTheVarianceOfTheirFanIn) {
  const LoadedModel model = random_model(architecture_config("vit_tiny_patch16_224"), 1);
  const auto weight = model.tensors->read("blocks.3.mlp.fc2.weight");  // 192 x 768
  double sum = 0.0, squares = 0.0;
  for (const float v : weight) {
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const double n = static_cast<double>(weight.size());
  EXPECT_NEAR(squares / n * 768.0, 1.0, 0.02);
  EXPECT_NEAR(sum / n * std::sqrt(768.0), 0.0, 0.02);
}

}  // namespace
}  // namespace igq
