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

std::string transformers_error(const json& config, const json& preprocessor = nullptr) {
  return test::error_text([&] { transformers_config(config, preprocessor); });
}

constexpr const char* kVitClass = "ViTForImageClassification";
constexpr const char* kDeitClass = "DeiTForImageClassification";
constexpr const char* kSwinClass = "SwinForImageClassification";
constexpr const char* kDinov2 = "Dinov2ForImageClassification";

TEST(TransformersConfig, DefaultsOfTheClasses) {
  const ModelConfig vit = transformers_config(config_of(kVitClass), nullptr);
  EXPECT_EQ(vit.architecture, kVitClass);
  EXPECT_EQ(vit.vit.embed_dim, 768);
  EXPECT_EQ(vit.vit.norm_eps, 1e-12f);
  EXPECT_EQ(vit.vit.patch_width, 16);
  EXPECT_FALSE(vit.vit.antialias_positions);
  EXPECT_EQ(vit.labels, (std::vector<std::string>{"cat", "dog", "owl"}));
  EXPECT_EQ(vit.preprocess.interpolation, Interpolation::kBilinear);
  EXPECT_EQ(vit.preprocess.resize_height, 224);
  EXPECT_EQ(vit.preprocess.mean, (std::array{0.5, 0.5, 0.5}));
  EXPECT_EQ(vit.preprocess.orientation, Orientation::kExif);
  EXPECT_EQ(vit.scores, Scores::kSoftmax);

  const ModelConfig deit = transformers_config(config_of(kDeitClass), nullptr);
  EXPECT_EQ(deit.vit.reg_tokens, 1);
  EXPECT_FALSE(deit.vit.distilled);
  EXPECT_EQ(deit.preprocess.resize_width, 256);
  EXPECT_EQ(deit.image_width, 224);

  const ModelConfig swin = transformers_config(config_of(kSwinClass), nullptr);
  EXPECT_EQ(swin.swin.depths, (std::vector<int>{2, 2, 6, 2}));
  EXPECT_TRUE(swin.swin.pad_before_shift);

  const ModelConfig dino =
      transformers_config(config_of(kDinov2, {{"use_swiglu_ffn", true}, {"hidden_size", 1536}}), nullptr);
  EXPECT_EQ(dino.vit.mlp_hidden, 4096);
  EXPECT_TRUE(dino.vit.concat_pool);
  EXPECT_EQ(dino.preprocess.resize_short, 224);  // BitImageProcessor, and CLIP's colours
  EXPECT_EQ(dino.preprocess.mean[0], 0.48145466);
}

TEST(TransformersConfig, NumberOfClasses) {
  EXPECT_EQ(transformers_config({{"architectures", {kVitClass}}}, nullptr).num_classes,
            2);  // the default is not written
  EXPECT_EQ(transformers_config({{"architectures", {kVitClass}}, {"num_labels", 5}}, nullptr).num_classes, 5);
  EXPECT_EQ(transformers_config({{"architectures", {kVitClass}}, {"num_labels", 0}}, nullptr).num_classes, 0);
  // As transformers: the names are counted, and those of no class belong to nothing; that is said.
  const ModelConfig from_one =
      transformers_config(config_of(kVitClass, {{"id2label", {{"1", "a"}, {"2", "b"}}}}), nullptr);
  EXPECT_EQ(from_one.labels, (std::vector<std::string>{"0", "a"}));
  ASSERT_EQ(from_one.notes.size(), 1U);
  EXPECT_SAYS(from_one.notes[0], "'id2label' names class 2 of a model with classes 0 to 1");
  const ModelConfig numbers =
      transformers_config(config_of(kVitClass, {{"id2label", {{"0", 7}, {"1", true}}}}), nullptr);
  EXPECT_EQ(numbers.labels, (std::vector<std::string>{"7", "true"}));
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"id2label", {{"0", {"a"}}}}})), "id2label");
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"id2label", {{"0", "a"}, {"x", "b"}}}})), "'x'");
}

// ImageClassificationPipeline.postprocess
TEST(TransformersConfig, ScoresByProblemType) {
  const auto scores = [](const json& more) { return transformers_config(config_of(kVitClass, more), nullptr).scores; };
  EXPECT_EQ(scores({{"problem_type", "multi_label_classification"}}), Scores::kSigmoid);
  EXPECT_EQ(scores({{"problem_type", "regression"}}), Scores::kNone);
  EXPECT_EQ(scores({{"problem_type", "single_label_classification"}}), Scores::kSoftmax);
  EXPECT_EQ(scores({{"problem_type", nullptr}}), Scores::kSoftmax);
  EXPECT_EQ(scores({{"id2label", {{"0", "only"}}}}), Scores::kSigmoid);
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"problem_type", "magic"}})), "'problem_type' is 'magic'");
}

TEST(TransformersConfig, ClassByModelType) {
  const auto architecture = [](const json& architectures, const char* type) {
    return transformers_config({{"architectures", architectures}, {"model_type", type}}, nullptr).architecture;
  };
  EXPECT_EQ(architecture(nullptr, "vit"), kVitClass);
  EXPECT_EQ(architecture(json::array(), "swin"), kSwinClass);
  EXPECT_EQ(architecture({"ViTModel"}, "vit"), kVitClass);
  EXPECT_EQ(architecture(nullptr, "deit"), kDeitClass);
  EXPECT_EQ(architecture({"DeiTForImageClassificationWithTeacher"}, "deit"), "DeiTForImageClassificationWithTeacher");
  EXPECT_SAYS(transformers_error({{"architectures", nullptr}, {"model_type", "beit"}}),
              "'model_type' is beit, igq runs ViTFor");
  EXPECT_SAYS(transformers_error({{"architectures", {kVitClass}}, {"model_type", "beit"}}), "'model_type' is beit");
  EXPECT_SAYS(transformers_error({{"architectures", nullptr}}), "both 'architectures' and 'model_type' are missing");
}

TEST(TransformersConfig, Processors) {
  const auto read = [](const char* name, const json& preprocessor) {
    return transformers_config(config_of(name), preprocessor, true);
  };
  // Before 2022: integers.
  const ModelConfig old = read(kVitClass, {{"feature_extractor_type", "ViTFeatureExtractor"},
                                           {"size", 384},
                                           {"resample", 3},
                                           {"image_mean", {0.1, 0.2, 0.3}},
                                           {"image_std", 0.5}});
  EXPECT_EQ(old.image_height, 384);
  EXPECT_EQ(old.preprocess.resize_height, 384);
  EXPECT_EQ(old.preprocess.interpolation, Interpolation::kBicubic);
  EXPECT_EQ(old.preprocess.mean, (std::array{0.1, 0.2, 0.3}));
  EXPECT_EQ(old.preprocess.std, (std::array{0.5, 0.5, 0.5}));
  const ModelConfig deit = read(kDeitClass, {{"feature_extractor_type", "DeiTFeatureExtractor"},
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
      read(kDeitClass, {{"size", {{"height", 160}, {"width", 96}}}, {"crop_size", 224}, {"do_center_crop", false}});
  EXPECT_EQ(off.image_height, 160);
  EXPECT_EQ(off.image_width, 96);
  const ModelConfig raw = read(kVitClass, {{"size", 224}, {"do_normalize", false}});
  EXPECT_EQ(raw.preprocess.mean, (std::array{0.0, 0.0, 0.0}));
  EXPECT_EQ(raw.preprocess.std, (std::array{1.0, 1.0, 1.0}));
}

TEST(TransformersConfig, Refusals) {
  EXPECT_SAYS(transformers_error(config_of("ViTModel")),
              "'architectures' names ViTModel, igq runs ViTForImageClassification");
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"hidden_act", "mish"}})), "hidden_act");
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"num_channels", 1}})), "1 channels");
  EXPECT_SAYS(transformers_error(config_of(kVitClass, {{"hidden_size", "big"}})), "hidden_size");
  EXPECT_SAYS(transformers_error(config_of(kSwinClass, {{"use_absolute_embeddings", true}})),
              "use_absolute_embeddings");
  EXPECT_SAYS(transformers_error(config_of(kSwinClass, {{"layer_norm_eps", 1e-6}})), "layer_norm_eps");
  EXPECT_SAYS(transformers_error(config_of(kSwinClass), {{"size", {224, 256}}}), "not square");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"do_resize", false}}), "do_resize");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"do_pad", true}, {"pad_size", 300}}), "do_pad");
  EXPECT_SAYS(transformers_error(config_of("Dinov2WithRegistersForImageClassification"), json::object()),
              "'image_processor_type' is missing");
  // null is None: a switch is off, and a value that a step needs is missing.
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"do_resize", nullptr}}), "do_resize");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", nullptr}}), "'size' is null");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"image_mean", nullptr}}), "'image_mean' is null");
  EXPECT_SAYS(transformers_error(config_of(kDeitClass), {{"crop_size", nullptr}}), "'crop_size' is null");
  EXPECT_EQ(transformers_error(config_of(kVitClass),
                               {{"crop_size", nullptr}, {"do_center_crop", nullptr}, {"do_pad", nullptr}}),
            "");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"rescale_factor", 0}}), "rescale_factor");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"image_processor_type", "ConvNextImageProcessor"}}),
              "'image_processor_type' is ConvNextImageProcessor, whose steps igq does not have");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", 384}}),
              "makes 384x384 pixels, 'image_size' of the model is 224x224");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", {{"height", 224}, {"width", 224}, {"depth", 3}}}}),
              "'depth'");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", {{"shortest_edge", 224}}}}), "shortest edge");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", {{"shortest_edge", 1}, {"longest_edge", 2}}}}),
              "longest_edge");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"size", {{"height", 224}}}}), "'size'");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), {{"resample", 9}}), "resample");
  EXPECT_SAYS(transformers_error(config_of(kVitClass), json::array()), "image processor");
}

// Rescaling, normalizing and what EfficientNetImageProcessor does besides are one step on pixels in [0, 1].
TEST(TransformersConfig, RescaleFoldsIntoNormalize) {
  const auto read = [](const json& more) {
    json processor = {{"image_processor_type", "EfficientNetImageProcessorFast"},
                      {"size", 224},
                      {"image_mean", {0.5, 0.25, 0}},
                      {"image_std", 0.25}};
    processor.update(more);
    return transformers_config(config_of(kVitClass), processor).preprocess;
  };
  EXPECT_EQ(read({{"include_top", false}}).mean, (std::array{0.5, 0.25, 0.0}));
  EXPECT_EQ(read({{"include_top", false}}).std, (std::array{0.25, 0.25, 0.25}));
  EXPECT_EQ(read(json::object()).std,
            (std::array{0.0625, 0.0625, 0.0625}));  // normalized twice, the second without mean
  const PreprocessConfig offset =
      read({{"rescale_offset", true}, {"rescale_factor", 1 / 127.5}, {"include_top", false}});
  EXPECT_DOUBLE_EQ(offset.mean[0], 0.75);  // v * 2 - 1 - 0.5
  EXPECT_DOUBLE_EQ(offset.std[0], 0.125);
  const PreprocessConfig raw = read({{"do_rescale", false}, {"do_normalize", false}, {"include_top", false}});
  EXPECT_DOUBLE_EQ(raw.std[0], 1.0 / 255.0);
}

TEST(TransformersConfig, WhereTheProcessorLies) {
  test::EditedFixture fixture("hf_vit");
  const auto want = test::logits_of(load_model(fixture.path()));
  const auto own = fixture.path() / "preprocessor_config.json", nested = fixture.path() / "processor_config.json";
  const json settings = json::parse(std::ifstream(own));
  std::ofstream(nested) << json{{"image_processor", settings}, {"processor_class", "X"}};
  std::ofstream(own) << R"({"resample":true})";  // the nested one comes first
  EXPECT_EQ(test::logits_of(load_model(fixture.path())), want);
  std::ofstream(nested) << R"({"processor_class":"X"})";
  EXPECT_SAYS(test::load_error(fixture.path()), "resample");
  std::filesystem::remove(own);
  EXPECT_SAYS(test::load_error(fixture.path()), "no preprocessor_config.json beside it");
}

}  // namespace
}  // namespace igq
