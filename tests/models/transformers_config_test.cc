// config.json and preprocessor_config.json of transformers beyond what the fixtures hold.
#include "models/transformers_config.h"

#include <gtest/gtest.h>

#include "igq/error.h"
#include "tests/models/checkpoint_files.h"

namespace igq {
namespace {

using nlohmann::json;

json config_of(const char* name, const json& more = json::object()) {
  json config = {{"architectures", {name}}, {"id2label", {{"0", "cat"}, {"1", "dog"}, {"2", "owl"}}}};
  config.update(more);
  return config;
}

std::string error_of(const json& config, const json& preprocessor = nullptr) {
  try {
    transformers_config(config, preprocessor);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

constexpr const char* kVit = "ViTForImageClassification";
constexpr const char* kDeit = "DeiTForImageClassification";
constexpr const char* kSwin = "SwinForImageClassification";
constexpr const char* kDinov2 = "Dinov2ForImageClassification";

TEST(TransformersConfig, DefaultsOfTheClasses) {
  const ModelConfig vit = transformers_config(config_of(kVit), nullptr);
  EXPECT_EQ(vit.architecture, kVit);
  EXPECT_EQ(vit.vit.embed_dim, 768);
  EXPECT_EQ(vit.vit.norm_eps, 1e-12f);
  EXPECT_EQ(vit.vit.patch_width, 16);
  EXPECT_FALSE(vit.vit.antialias_positions);
  EXPECT_EQ(vit.labels, (std::vector<std::string>{"cat", "dog", "owl"}));
  EXPECT_EQ(vit.preprocess.interpolation, Interpolation::kBilinear);
  EXPECT_EQ(vit.preprocess.resize_height, 224);
  EXPECT_EQ(vit.preprocess.mean, (std::array{0.5f, 0.5f, 0.5f}));

  const ModelConfig deit = transformers_config(config_of(kDeit), nullptr);
  EXPECT_EQ(deit.vit.reg_tokens, 1);
  EXPECT_FALSE(deit.vit.distilled);
  EXPECT_EQ(deit.preprocess.resize_width, 256);
  EXPECT_EQ(deit.image_width, 224);

  const ModelConfig swin = transformers_config(config_of(kSwin), nullptr);
  EXPECT_EQ(swin.swin.depths, (std::vector<int>{2, 2, 6, 2}));
  EXPECT_TRUE(swin.swin.pad_before_shift);

  const ModelConfig dino =
      transformers_config(config_of(kDinov2, {{"use_swiglu_ffn", true}, {"hidden_size", 1536}}), nullptr);
  EXPECT_EQ(dino.vit.mlp_hidden, 4096);
  EXPECT_TRUE(dino.vit.concat_pool);
  EXPECT_EQ(dino.preprocess.resize_short, 256);
}

TEST(TransformersConfig, NumberOfClasses) {
  EXPECT_EQ(transformers_config({{"architectures", {kVit}}}, nullptr).num_classes, 2);  // the default is not written
  EXPECT_EQ(transformers_config({{"architectures", {kVit}}, {"num_labels", 5}}, nullptr).num_classes, 5);
  EXPECT_SAYS(error_of({{"architectures", {kVit}}, {"num_labels", 0}}), "no labels");
  EXPECT_SAYS(error_of(config_of(kVit, {{"id2label", {{"0", "a"}, {"7", "b"}}}})), "'id2label' names class '7' of 2");
  EXPECT_SAYS(error_of(config_of(kVit, {{"id2label", {{"0", "a"}, {"x", "b"}}}})), "'x'");
}

TEST(TransformersConfig, Processors) {
  const auto read = [](const char* name, const json& preprocessor) {
    return transformers_config(config_of(name), preprocessor);
  };
  // Before 2022: integers.
  const ModelConfig old = read(kVit, {{"feature_extractor_type", "ViTFeatureExtractor"},
                                      {"size", 384},
                                      {"resample", 3},
                                      {"image_mean", {0.1, 0.2, 0.3}},
                                      {"image_std", 0.5}});
  EXPECT_EQ(old.image_height, 384);
  EXPECT_EQ(old.preprocess.resize_height, 384);
  EXPECT_EQ(old.preprocess.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(old.preprocess.mean, (std::array{0.1f, 0.2f, 0.3f}));
  EXPECT_EQ(old.preprocess.std, (std::array{0.5f, 0.5f, 0.5f}));
  const ModelConfig deit = read(kDeit, {{"feature_extractor_type", "DeiTFeatureExtractor"},
                                        {"size", 438},
                                        {"crop_size", 384},
                                        {"do_center_crop", true}});
  EXPECT_EQ(deit.image_width, 384);
  EXPECT_EQ(deit.preprocess.resize_width, 438);
  const ModelConfig bit =
      read(kDinov2, {{"image_processor_type", "BitImageProcessor"}, {"size", 256}, {"crop_size", 224}});
  EXPECT_EQ(bit.preprocess.resize_short, 256);
  EXPECT_EQ(bit.preprocess.resize_height, 0);
  EXPECT_EQ(bit.image_height, 224);
  // A crop that is switched off does not crop.
  const ModelConfig off =
      read(kDeit, {{"size", {{"height", 160}, {"width", 96}}}, {"crop_size", 224}, {"do_center_crop", false}});
  EXPECT_EQ(off.image_height, 160);
  EXPECT_EQ(off.image_width, 96);
  const ModelConfig raw = read(kVit, {{"size", 224}, {"do_normalize", false}});
  EXPECT_EQ(raw.preprocess.mean, (std::array{0.0f, 0.0f, 0.0f}));
  EXPECT_EQ(raw.preprocess.std, (std::array{1.0f, 1.0f, 1.0f}));
}

TEST(TransformersConfig, Refusals) {
  EXPECT_SAYS(error_of(config_of("ViTModel")), "'architectures' names ViTModel, igq runs ViTForImageClassification");
  EXPECT_SAYS(error_of({{"model_type", "vit"}}), "'architectures' is missing");
  EXPECT_SAYS(error_of(config_of(kVit, {{"hidden_act", "mish"}})), "hidden_act");
  EXPECT_SAYS(error_of(config_of(kVit, {{"num_channels", 1}})), "1 channels");
  EXPECT_SAYS(error_of(config_of(kVit, {{"hidden_size", "big"}})), "hidden_size");
  EXPECT_SAYS(error_of(config_of(kSwin, {{"use_absolute_embeddings", true}})), "use_absolute_embeddings");
  EXPECT_SAYS(error_of(config_of(kSwin, {{"layer_norm_eps", 1e-6}})), "layer_norm_eps");
  EXPECT_SAYS(error_of(config_of(kSwin, {{"image_size", {224, 256}}})), "not square");
  EXPECT_SAYS(error_of(config_of(kVit), {{"do_resize", false}}), "do_resize");
  EXPECT_SAYS(error_of(config_of(kVit), {{"do_rescale", false}}), "do_rescale");
  EXPECT_SAYS(error_of(config_of(kVit), {{"rescale_factor", 1}}), "rescale_factor");
  EXPECT_SAYS(error_of(config_of(kVit), {{"size", {{"shortest_edge", 224}}}}), "shortest edge");
  EXPECT_SAYS(error_of(config_of(kVit), {{"size", {{"shortest_edge", 1}, {"longest_edge", 2}}}}), "longest_edge");
  EXPECT_SAYS(error_of(config_of(kVit), {{"size", {{"height", 224}}}}), "'size'");
  EXPECT_SAYS(error_of(config_of(kVit), {{"resample", 9}}), "resample");
  EXPECT_SAYS(error_of(config_of(kVit), json::array()), "preprocessor_config.json");
}

TEST(TransformersConfig, FolderWithoutProcessor) {
  test::EditedFixture fixture("hf_vit");
  const auto want = test::logits_of(load_model(fixture.path()));
  std::filesystem::remove(fixture.path() / "preprocessor_config.json");
  EXPECT_EQ(test::logits_of(load_model(fixture.path())), want);
  std::ofstream(fixture.path() / "preprocessor_config.json") << R"({"resample":true})";
  EXPECT_SAYS(test::load_error(fixture.path()), "resample");
}

}  // namespace
}  // namespace igq
