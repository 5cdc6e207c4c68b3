// DINOv3 and EVA-02: rotary embeddings, gated MLPs with and without a norm, against transformers and timm
// (tools/make_rotary_fixtures.py); in integers with the bits of simulation.
#include <gtest/gtest.h>

#include <cmath>

#include "calibration/calibrate.h"
#include "eval/benchmark.h"
#include "io/preprocess.h"
#include "models/config_json.h"
#include "models/igq_file.h"
#include "pipeline/quantize_model.h"
#include "tests/models/checkpoint_files.h"
#include "tests/npy.h"

namespace igq {
namespace {

const char* const kModels[] = {"dinov3",     "dinov3_gated", "timm_dinov3",   "timm_dinov3_gated",
                               "eva02_base", "eva02_small",  "rope_registers"};

std::filesystem::path folder_of(const std::string& name) { return test::fixtures() / "rotary" / name; }

std::vector<float> outputs(Model& model, const std::vector<float>& images, std::int64_t values, Execution execution,
                           ModelOutput output, Isa isa = best_isa(), int threads = 2) {
  std::vector<float> all(static_cast<std::size_t>(2 * values), NAN);
  Runner runner(model, execution, isa, threads, output);
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
    expect_close(outputs(model, images, output.shape[1], Execution::kFloat, ModelOutput::kMain), output.as<float>(),
                 "output");
    expect_close(outputs(model, images, tokens.shape[1] * tokens.shape[2], Execution::kFloat, ModelOutput::kTokens),
                 tokens.as<float>(), "tokens");
    const ModelConfig again = config_from_json(config_to_json(model.config()));
    EXPECT_EQ(config_to_json(again), config_to_json(model.config()));
    EXPECT_EQ(again.vit.rope, model.config().vit.rope);
    EXPECT_NE(again.vit.rope, Rope::kNone);
  }
}

TEST(Rotary, IntegersHaveTheBitsOfSimulationAndSurviveTheFile) {
  const test::TemporaryFolder folder;
  for (const std::string name : kModels)
    for (const int bits : {8, 4}) {
      SCOPED_TRACE(fmt::format("{} {}", name, bits));
      LoadedModel loaded = load_model(folder_of(name));
      QuantizeJob job;
      job.options = preset_options(Preset::kBest);
      job.options.weight_bits = job.options.activation_bits = bits;
      const CalibrationSet images = synthetic_calibration(*loaded.model, 4, 1);
      const QuantizeReport report = quantize_model(loaded, images, job, best_isa(), 2, 2);
      EXPECT_EQ(report.model.provenance.settings.find("--balance"), std::string::npos);
      EXPECT_GT(report.noise.logits_snr, bits == 8 ? 20.0 : 3.0);
      save_igq(folder.path() / "m.igq", report.model, true);
      LoadedModel read = load_model(folder.path() / "m.igq");
      const std::vector<float> input = test::read_npy(folder_of(name) / "input.npy").as<float>();
      const std::int64_t width = output_width(read.model->config());
      const auto run = [&](Execution execution, Isa isa, int threads) {
        return outputs(*read.model, input, width, execution, ModelOutput::kMain, isa, threads);
      };
      const std::vector<float> integer = run(Execution::kInteger, best_isa(), 2);
      EXPECT_EQ(run(Execution::kSimulate, best_isa(), 2), integer);
      EXPECT_EQ(run(Execution::kInteger, Isa::kReference, 1), integer);
      EXPECT_EQ(run(Execution::kInteger, best_isa(), 3), integer);
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
