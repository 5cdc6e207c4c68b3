// DINOv3 and EVA-02: rotary embeddings, gated MLPs with and without a norm, against transformers and timm
// (tools/make_rotary_fixtures.py). In integers: encoder_integers_test.cc.
#include <gtest/gtest.h>

#include <cmath>

#include "io/preprocess.h"
#include "models/config_json.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "tests/models/checkpoint_files.h"
#include "tests/npy.h"

namespace igq {
namespace {

const char* const kModels[] = {"dinov3",     "dinov3_gated", "timm_dinov3",   "timm_dinov3_gated",
                               "eva02_base", "eva02_small",  "rope_registers"};

std::filesystem::path folder_of(const std::string& name) { return test::fixtures() / "rotary" / name; }

std::vector<float> outputs(Model& model, const std::vector<float>& images, std::int64_t values, ModelOutput output) {
  std::vector<float> all(static_cast<std::size_t>(2 * values), NAN);
  Runner runner(model, Execution::kFloat, best_isa(), 2, output);
  runner.run_batch(images.data(), 2, all.data());
  return all;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, const char* what) {
  EXPECT_LE(test::largest_difference(got, want), 1e-4 * test::largest_size(want)) << what;
}

TEST(Rotary, EqualsTheOriginals) {
  for (const std::string name : kModels) {
    SCOPED_TRACE(name);
    const LoadedModel loaded = load_model(folder_of(name));
    const std::vector<float> images = test::read_npy(folder_of(name) / "input.npy").as<float>();
    const test::Npy output = test::read_npy(folder_of(name) / "output.npy"),
                    tokens = test::read_npy(folder_of(name) / "tokens.npy");
    Model& model = *loaded.model;
    EXPECT_EQ(model.config().image_height, 32);
    EXPECT_EQ(model.config().image_width, 48);
    ASSERT_EQ(tokens.shape[1], model.output_tokens());
    ASSERT_EQ(output.shape[1], output_width(model.config()));
    expect_close(outputs(model, images, output.shape[1], ModelOutput::kMain), output.as<float>(), "output");
    expect_close(outputs(model, images, tokens.shape[1] * tokens.shape[2], ModelOutput::kTokens), tokens.as<float>(),
                 "tokens");
    const ModelConfig again = config_from_json(config_to_json(model.config()));
    EXPECT_EQ(config_to_json(again), config_to_json(model.config()));
    EXPECT_EQ(again.vit.rope, model.config().vit.rope);
    EXPECT_NE(again.vit.rope, Rope::kNone);
  }
}

TEST(Rotary, PicturesAreResizedInFloatAsDinov3sProcessorDoes) {
  const LoadedModel loaded = load_model(folder_of("dinov3"));
  const PreprocessConfig& preprocess = loaded.model->config().preprocess;
  EXPECT_TRUE(preprocess.float_resize);
  const test::Npy want = test::read_npy(folder_of("dinov3") / "pixels.npy");
  std::vector<float> got(want.as<float>().size());
  preprocess_file(folder_of("dinov3") / "photo.png", preprocess, 32, 48, got.data());
  EXPECT_LE(test::largest_difference(got, want.as<float>()), 5e-6);  // of pixels that run over -2 to 2.6
}

TEST(Rotary, WhatIsNotComputedIsRefused) {
  test::EditedFixture fixture("vit_token");
  for (const auto& entry : std::filesystem::directory_iterator(folder_of("dinov3")))
    std::filesystem::copy(entry.path(), fixture.path() / entry.path().filename(),
                          std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(test::load_error(fixture.path()), "");
  const auto refuses = [&](const char* key, const nlohmann::json& value, const char* says) {
    const nlohmann::json before = [&] {
      nlohmann::json old;
      fixture.edit_json("config.json", [&](nlohmann::json& c) {
        old = c;
        c[key] = value;
      });
      return old;
    }();
    EXPECT_SAYS(test::load_error(fixture.path()), says);
    fixture.edit_json("config.json", [&](nlohmann::json& c) { c = before; });
  };
  refuses("use_gated_mlp", true, "silu");
  refuses("mlp_bias", false, "'mlp_bias' is false");
  refuses("num_attention_heads", 16, "multiple of 4");
  refuses("num_register_tokens", 0, "extra");
  refuses("rope_theta", -1.0, "rope_theta");
}

}  // namespace
}  // namespace igq
