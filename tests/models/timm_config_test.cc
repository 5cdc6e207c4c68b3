// config.json of timm: what decides over what, and what is refused.
#include "models/timm_config.h"

#include <gtest/gtest.h>

#include "igq/error.h"
#include "tests/models/checkpoint_files.h"

namespace igq {
namespace {

using nlohmann::json;

ModelConfig parse(const char* text) { return timm_config(json::parse(text)); }

std::string timm_error(const std::string& text) {
  return test::error_text([&] { timm_config(json::parse(text)); });
}

/// The error for a ViT with these model_args.
std::string vit_error(const std::string& args) {
  return timm_error(R"({"architecture":"vit_tiny_patch16_224","model_args":{)" + args + "}}");
}
std::string swin_error(const std::string& args) {
  return timm_error(R"({"architecture":"swin_tiny_patch4_window7_224","model_args":{)" + args + "}}");
}

TEST(TimmConfig, ArchitectureAlone) {
  const ModelConfig c = parse(R"({"architecture":"deit_tiny_distilled_patch16_224"})");
  EXPECT_EQ(c.family, Family::kVit);
  EXPECT_TRUE(c.vit.distilled);
  EXPECT_EQ(c.vit.embed_dim, 192);
  EXPECT_EQ(c.num_classes, 1000);
  EXPECT_EQ(c.image_height, 224);
}

TEST(TimmConfig, ModelArgsOverrideTheArchitecture) {
  const ModelConfig c = parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":9,"model_args":{
      "img_size":[32,64],"patch_size":[4,8],"embed_dim":48,"depth":3,"num_heads":6,"mlp_ratio":2.5,"qkv_bias":false,
      "init_values":1e-5,"reg_tokens":2,"no_embed_class":true,"pre_norm":true,"act_layer":"quick_gelu",
      "drop_path_rate":0.1,"weight_init":"skip","qk_norm":false,"norm_layer":null,"num_classes":7}})");
  EXPECT_EQ(c.image_height, 32);
  EXPECT_EQ(c.image_width, 64);
  EXPECT_EQ(c.vit.patch_height, 4);
  EXPECT_EQ(c.vit.patch_width, 8);
  EXPECT_EQ(c.vit.embed_dim, 48);
  EXPECT_EQ(c.vit.depth, 3);
  EXPECT_EQ(c.vit.num_heads, 6);
  EXPECT_EQ(c.vit.mlp_hidden, 120);
  EXPECT_FALSE(c.vit.qkv_bias);
  EXPECT_TRUE(c.vit.layer_scale);
  EXPECT_EQ(c.vit.reg_tokens, 2);
  EXPECT_TRUE(c.vit.no_embed_class);
  EXPECT_TRUE(c.vit.pre_norm);
  EXPECT_EQ(c.vit.activation, kernels::Activation::kQuickGelu);
  EXPECT_EQ(c.num_classes, 7);  // model_args win over the top level
}

TEST(TimmConfig, WidthWithoutRatioKeepsTheArchitecturesRatio) {
  EXPECT_EQ(
      parse(R"({"architecture":"vit_tiny_patch16_224","model_args":{"embed_dim":60,"num_heads":4}})").vit.mlp_hidden,
      240);
  // vit_giant_patch14_dinov2: mlp_ratio 2.66667 * 2, packed.
  for (const auto& [width, hidden] : {std::pair(32, 85), std::pair(48, 128), std::pair(1536, 4096)}) {
    const std::string text = fmt::format(R"({{"architecture":"vit_giant_patch14_dinov2","num_classes":3,
        "model_args":{{"embed_dim":{},"num_heads":4}}}})",
                                         width);
    EXPECT_EQ(parse(text.c_str()).vit.mlp_hidden, hidden) << width;
  }
}

TEST(TimmConfig, PoolingMovesTheNorm) {
  const auto norms = [](const char* arch, const char* args) {
    const VitConfig v = parse(fmt::format(R"({{"architecture":"{}","model_args":{}}})", arch, args).c_str()).vit;
    return std::pair(v.final_norm, v.fc_norm);
  };
  const auto before = std::pair(true, false), after = std::pair(false, true), none = std::pair(false, false);
  EXPECT_EQ(norms("vit_tiny_patch16_224", "{}"), before);
  EXPECT_EQ(norms("vit_tiny_patch16_224", R"({"global_pool":"avg"})"), after);
  EXPECT_EQ(norms("vit_tiny_patch16_224", R"({"global_pool":"avg","fc_norm":false})"), before);
  EXPECT_EQ(norms("vit_tiny_patch16_224", R"({"fc_norm":true})"), after);
  EXPECT_EQ(norms("vit_tiny_patch16_224", R"({"final_norm":false})"), none);
  EXPECT_EQ(norms("vit_base_patch16_gap_224", "{}"), before);
  EXPECT_EQ(norms("vit_base_patch16_gap_224", R"({"global_pool":"avg"})"), before);
  // Exports without model_args: the pooling stands at the top level only.
  EXPECT_TRUE(parse(R"({"architecture":"vit_tiny_patch16_224","global_pool":"avg"})").vit.fc_norm);
  EXPECT_FALSE(
      parse(R"({"architecture":"vit_tiny_patch16_224","global_pool":"avg","model_args":{"global_pool":"token"}})")
          .vit.fc_norm);
}

TEST(TimmConfig, PreprocessingAndLabels) {
  const ModelConfig c = parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":3,"label_names":["a","b","c"],
      "label_descriptions":{"a":"an a"},"pretrained_cfg":{"num_classes":1000,"input_size":[3,96,128],
      "interpolation":"bilinear","crop_pct":0.8,"crop_mode":"squash","mean":[0.1,0.2,0.3],"std":[0.4,0.5,0.6]}})");
  EXPECT_EQ(c.num_classes, 3);
  EXPECT_EQ(c.labels, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(c.image_height, 96);
  EXPECT_EQ(c.image_width, 128);
  EXPECT_EQ(c.preprocess.interpolation, Interpolation::kBilinear);
  EXPECT_EQ(c.preprocess.crop_mode, CropMode::kSquash);
  EXPECT_EQ(c.preprocess.crop_pct, 0.8);
  EXPECT_EQ(c.preprocess.mean, (std::array{0.1, 0.2, 0.3}));
  EXPECT_EQ(c.preprocess.std, (std::array{0.4, 0.5, 0.6}));

  const auto labels = [](const char* more) {
    return parse(fmt::format(R"({{"architecture":"vit_tiny_patch16_224","num_classes":3,{}}})", more).c_str()).labels;
  };
  EXPECT_EQ(labels(R"("label_names":{"2":"c","0":"a"})"), (std::vector<std::string>{"a", "1", "c"}));
  EXPECT_EQ(labels(R"("labels":["x","y","z"])"), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_TRUE(labels(R"("pretrained_cfg":{"label_names":["left","over"]})").empty());
}

// timm.data.resolve_data_config and timm.models.PretrainedCfg: the architecture's own numbers do not come in.
TEST(TimmConfig, WhatIsMissingHasTimmsGeneralDefault) {
  for (const char* cfg : {"{}", R"({"mean":null,"std":null,"crop_pct":null,"interpolation":null,"crop_mode":null})",
                          R"({"mean":[],"std":[],"crop_pct":0,"interpolation":"","crop_mode":""})"}) {
    const ModelConfig c = parse(
        fmt::format(R"({{"architecture":"vit_base_patch16_384","num_classes":7,"pretrained_cfg":{}}})", cfg).c_str());
    EXPECT_EQ(c.image_height, 224) << cfg;
    EXPECT_EQ(c.preprocess.crop_pct, 0.875) << cfg;
    EXPECT_EQ(c.preprocess.mean, (std::array{0.485, 0.456, 0.406})) << cfg;
    EXPECT_EQ(c.preprocess.std, (std::array{0.229, 0.224, 0.225})) << cfg;
    EXPECT_EQ(c.preprocess.interpolation, Interpolation::kBicubic) << cfg;
    EXPECT_EQ(c.preprocess.orientation, Orientation::kIgnore) << cfg;
  }
  EXPECT_EQ(parse(R"({"architecture":"vit_small_patch14_dinov2","model_args":{"img_size":224}})").num_classes, 1000);
  EXPECT_EQ(parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":1})").scores, Scores::kSigmoid);
  const ModelConfig numbers = parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":2,"label_names":[1,2]})");
  EXPECT_EQ(numbers.labels, (std::vector<std::string>{"1", "2"}));
  const ModelConfig left = parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":1,"label_names":["a","b"]})");
  EXPECT_TRUE(left.labels.empty());
  EXPECT_EQ(left.notes.size(), 1U);
}

TEST(TimmConfig, FlatObjectOfOldExports) {
  const ModelConfig c = parse(R"({"architecture":"vit_tiny_patch16_224","num_classes":2,"input_size":[3,64,64],
      "mean":[0,0,0],"std":[1,1,1],"crop_pct":1.0,"labels":["no","yes"]})");
  EXPECT_EQ(c.image_height, 64);
  EXPECT_EQ(c.preprocess.crop_pct, 1.0);
  EXPECT_EQ(c.preprocess.mean, (std::array{0.0, 0.0, 0.0}));
  EXPECT_EQ(c.labels.size(), 2u);
}

TEST(TimmConfig, ModelsOfAnySizeRunAtInputSize) {
  const ModelConfig c =
      parse(R"({"architecture":"vit_tiny_patch16_224","model_args":{"img_size":224,"dynamic_img_size":true},
      "pretrained_cfg":{"input_size":[3,288,288]}})");
  EXPECT_EQ(c.image_height, 288);
  EXPECT_SAYS(
      timm_error(
          R"({"architecture":"swin_tiny_patch4_window7_224","model_args":{"img_size":224,"strict_img_size":false},
      "pretrained_cfg":{"input_size":[3,288,288]}})"),
      "input_size");
}

TEST(TimmConfig, NamesThatTheRegistryLacks) {
  const ModelConfig vit = parse(R"({"architecture":"vit_mine_patch4_32","num_classes":10,"model_args":{
      "img_size":32,"patch_size":4,"embed_dim":160,"depth":7,"num_heads":5}})");
  EXPECT_EQ(vit.vit.mlp_hidden, 640);
  EXPECT_EQ(vit.vit.depth, 7);
  EXPECT_EQ(vit.architecture, "vit_mine_patch4_32");
  EXPECT_TRUE(parse(R"({"architecture":"deit_mine_distilled","model_args":{"embed_dim":160,"depth":7,"num_heads":5}})")
                  .vit.distilled);
  const ModelConfig swin = parse(R"({"architecture":"swin_mine","num_classes":10,"model_args":{
      "img_size":32,"patch_size":2,"embed_dim":48,"depths":[2,4],"num_heads":[3,6],"window_size":[4,8]}})");
  EXPECT_EQ(swin.family, Family::kSwin);
  EXPECT_EQ(swin.swin.window_size, (std::array{4, 8}));
  // Without the numbers, or of another family: the registry's error with the nearest names.
  EXPECT_SAYS(timm_error(R"({"architecture":"vit_tinny_patch16_224","model_args":{"embed_dim":160}})"),
              "vit_tiny_patch16_224");
  EXPECT_SAYS(timm_error(R"({"architecture":"resnet50","model_args":{"embed_dim":1,"depth":1,"num_heads":1}})"),
              "resnet50");
}

TEST(TimmConfig, RefusesWhatWouldComputeSomethingElse) {
  EXPECT_SAYS(vit_error(R"("qk_norm":true)"), "'model_args.qk_norm' is true, igq runs models with false only");
  EXPECT_SAYS(vit_error(R"("proj_bias":false)"), "model_args.proj_bias");
  EXPECT_SAYS(vit_error(R"("rope_theta":100)"), "'model_args.rope_theta' is not known");
  EXPECT_SAYS(vit_error(R"("norm_layer":"rmsnorm")"), "norm_layer");
  EXPECT_SAYS(vit_error(R"("global_pool":"max")"), "model_args.global_pool");
  EXPECT_SAYS(vit_error(R"("class_token":false)"), "class_token");
  EXPECT_SAYS(vit_error(R"("act_layer":"mish")"), "mish");
  EXPECT_SAYS(vit_error(R"("in_chans":1)"), "1 channels");
  EXPECT_SAYS(vit_error(R"("depth":2.5)"), "model_args.depth");
  EXPECT_SAYS(vit_error(R"("depth":-1)"), "model_args.depth");
  EXPECT_SAYS(vit_error(R"("embed_dim":99999999999)"), "model_args.embed_dim");
  EXPECT_SAYS(vit_error(R"("mlp_ratio":1e30)"), "mlp_ratio");
  EXPECT_SAYS(vit_error(R"("img_size":[1,2,3])"), "img_size");
  EXPECT_SAYS(swin_error(R"("window_size":[7,7,14,7])"), "'model_args.window_size' differs between stages");
  EXPECT_EQ(swin_error(R"("window_size":[7,7,7,7])"), "");
  EXPECT_EQ(swin_error(R"("window_size":[[7,8],[7,8],[7,8],[7,8]])"), "");
  EXPECT_SAYS(swin_error(R"("head_dim":16)"), "head_dim");
  EXPECT_SAYS(swin_error(R"("always_partition":true)"), "always_partition");
  EXPECT_SAYS(swin_error(R"("global_pool":"max")"), "global_pool");
  EXPECT_SAYS(timm_error(R"({"architecture":"vit_tiny_patch16_224","pretrained_cfg":{"crop_mode":"zoom"}})"), "zoom");
  EXPECT_SAYS(timm_error(R"({"architecture":"vit_tiny_patch16_224","pretrained_cfg":[]})"), "pretrained_cfg");
  EXPECT_SAYS(timm_error(R"({"architecture":"vit_tiny_patch16_224","model_args":7})"), "model_args");
}

TEST(TimmConfig, FaultsNameTheFile) {
  test::EditedFixture fixture("vit_token");
  fixture.edit_json("config.json", [](json& c) { c["model_args"]["qk_norm"] = true; });
  EXPECT_SAYS(test::load_error(fixture.path()), (fixture.path() / "config.json").string());
  fixture.edit_json("config.json", [](json& c) {
    c["model_args"].erase("qk_norm");
    c["model_args"]["num_heads"] = 3;
  });
  EXPECT_SAYS(test::load_error(fixture.path()), "config.json: 'num_heads' 3 does not divide");
  fixture.edit_json("config.json", [](json& c) {
    c["model_args"]["num_heads"] = 2;
    c["model_args"]["patch_size"] = 1;
    c["model_args"]["img_size"] = 65536;  // the product of the sides passes 2^31
  });
  EXPECT_SAYS(test::load_error(fixture.path()),
              "config.json: images of 65536 x 65536 pixels are larger than the 16777216 pixels allowed");
  std::ofstream(fixture.path() / "config.json") << "{";
  EXPECT_SAYS(test::load_error(fixture.path()), "does not parse");
  std::ofstream(fixture.path() / "config.json") << "{}";
  EXPECT_SAYS(test::load_error(fixture.path()), "neither timm's");
}

}  // namespace
}  // namespace igq
