// The table of architectures against what timm says about the same names, and the site shapes against built networks.
#include "models/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "igq/error.h"
#include "models/config_check.h"
#include "models/model.h"
#include "tests/models/tiny_igq.h"
#include "tests/test_util.h"

namespace igq {
namespace {

nlohmann::json timm_fixture() {
  std::ifstream file(test::fixtures() / "registry" / "timm.json");
  return nlohmann::json::parse(file);
}

std::string name_error(std::string_view name) {
  return test::error_text([&] { architecture_config(name); });
}

TEST(Registry, ParametersAndMultiplyAddsAreTimms) {
  const nlohmann::json timm = timm_fixture();
  ASSERT_GT(timm.size(), 100u);
  for (const auto& [name, expected] : timm.items()) {
    const ModelConfig config = architecture_config(name);
    EXPECT_EQ(config.architecture, name);
    EXPECT_EQ(config.image_height, expected["size"].get<int>()) << name;
    EXPECT_EQ(config.image_width, expected["size"].get<int>()) << name;
    EXPECT_EQ(config.num_classes, expected["classes"].get<int>()) << name;
    EXPECT_EQ(count_parameters(config), expected["parameters"].get<std::int64_t>()) << name;
    // timm computes the pooling's one query for every image, igq once.
    const std::int64_t width = config.vit.embed_dim,
                       once = config.vit.pooling == Pooling::kAttention ? width * width : 0;
    EXPECT_EQ(count_macs(config) + once, expected["macs"].get<std::int64_t>()) << name;
  }
}

TEST(Registry, ListsEveryNameOnceAscending) {
  const std::vector<std::string> names = list_architectures();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(names.size(), timm_fixture().size());
  for (const char* name :
       {"vit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_distilled_patch16_384", "deit3_large_patch16_224",
        "vit_base_patch32_clip_224", "vit_small_patch14_dinov2", "vit_giant_patch14_reg4_dinov2",
        "swin_tiny_patch4_window7_224", "swin_large_patch4_window12_384"})
    EXPECT_TRUE(std::binary_search(names.begin(), names.end(), name)) << name;
}

TEST(Registry, DeitSmallIsTheNetworkOfThePaper) {
  const ModelConfig config = architecture_config("deit_small_patch16_224");
  EXPECT_EQ(config.vit.num_heads, 6);
  EXPECT_NEAR(static_cast<double>(count_macs(config)), 4.6e9, 0.05e9);
  EXPECT_EQ(count_parameters(config), 22'050'664);
}

TEST(Registry, ATagDecidesInputAndClasses) {
  const ModelConfig plain = architecture_config("vit_base_patch16_224");
  const ModelConfig in21k = architecture_config("vit_base_patch16_224.augreg_in21k");
  EXPECT_EQ(plain.num_classes, 1000);
  EXPECT_EQ(in21k.num_classes, 21843);
  EXPECT_EQ(in21k.architecture, "vit_base_patch16_224");
  EXPECT_EQ(architecture_config("vit_base_patch16_224.orig_in21k").num_classes, 0);
  const ModelConfig clip = architecture_config("vit_base_patch16_clip_224.openai_ft_in1k");
  EXPECT_TRUE(clip.vit.pre_norm);
  EXPECT_FLOAT_EQ(clip.vit.norm_eps, 1e-5f);
  EXPECT_EQ(clip.preprocess.mean[0], 0.48145466);
  EXPECT_EQ(architecture_config("eva_large_patch14_336").preprocess.crop_mode, CropMode::kSquash);
  EXPECT_EQ(architecture_config("vit_base_patch16_224_miil").preprocess.interpolation, Interpolation::kBilinear);
  EXPECT_FALSE(find_architecture("vit_base_patch16_224.no_such_weights").has_value());
}

TEST(Registry, AnUnknownNameIsAnsweredWithTheNearest) {
  EXPECT_FALSE(find_architecture("deit_smal_patch16_224").has_value());
  EXPECT_NE(name_error("deit_smal_patch16_224").find("deit_small_patch16_224"), std::string::npos);
  EXPECT_NE(name_error("swin_tiny_patch4_window7").find("swin_tiny_patch4_window7_224"), std::string::npos);
  EXPECT_NE(name_error("deit_small_patch16_224.fb_in1").find("deit_small_patch16_224.fb_in1k"), std::string::npos);
  EXPECT_FALSE(name_error("").empty());
}

std::unique_ptr<Model> random_network(const ModelConfig& config) {
  return test::random_model(config, 7, [](const std::string&, const Shape&, Random& random) {
    return static_cast<float>(random.uniform()) - 0.5f;
  });
}

ModelConfig tiny_vit() {
  ModelConfig config;
  config.num_classes = 3;
  config.image_height = config.image_width = 16;
  config.vit.patch_height = config.vit.patch_width = 4;
  config.vit.embed_dim = 8;
  config.vit.depth = 2;
  config.vit.num_heads = 2;
  config.vit.mlp_hidden = 12;
  return config;
}

ModelConfig tiny_swin(int height, int width) {
  ModelConfig config;
  config.family = Family::kSwin;
  config.num_classes = 3;
  config.image_height = height;
  config.image_width = width;
  config.swin.embed_dim = 8;
  config.swin.depths = {2, 1, 2};
  config.swin.num_heads = {1, 2, 4};
  config.swin.window_size = {4, 4};
  return config;
}

/// The sites of the built network, one by one.
void expect_shapes_of_network(const ModelConfig& config, const std::string& what) {
  const auto model = random_network(config);
  const std::vector<SiteShape> shapes = site_shapes(config);
  ASSERT_EQ(shapes.size(), model->sites().size()) << what;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const SiteShape& shape = shapes[i];
    const Site& site = model->sites()[i];
    EXPECT_EQ(shape.name, site.name) << what;
    EXPECT_EQ(shape.first_or_last, site.first_or_last) << what << ' ' << site.name;
    ASSERT_EQ(shape.attention, site.attention != nullptr) << what << ' ' << site.name;
    if (shape.attention) {
      EXPECT_EQ(shape.windows, site.windows) << what << ' ' << site.name;
      EXPECT_EQ(shape.tokens, site.max_rows) << what << ' ' << site.name;
      EXPECT_EQ(shape.heads, site.attention->heads()) << what << ' ' << site.name;
      EXPECT_EQ(shape.head_dim, site.attention->head_dim()) << what << ' ' << site.name;
    } else {
      EXPECT_EQ(shape.rows, site.max_rows) << what << ' ' << site.name;
      EXPECT_EQ(shape.in, site.linear->in_features()) << what << ' ' << site.name;
      EXPECT_EQ(shape.out, site.linear->out_features()) << what << ' ' << site.name;
    }
  }
}

TEST(SiteShapes, AreThoseOfTheNetwork) {
  expect_shapes_of_network(tiny_vit(), "vit");
  ModelConfig config = tiny_vit();
  config.vit.distilled = true;
  expect_shapes_of_network(config, "distilled");
  config = tiny_vit();
  config.vit.reg_tokens = 4;
  config.vit.no_embed_class = config.vit.swiglu = config.vit.layer_scale = true;
  expect_shapes_of_network(config, "registers, SwiGLU");
  config = tiny_vit();
  config.vit.class_token = false;
  config.vit.pooling = Pooling::kAverage;
  config.image_height = 22;  // not a multiple of the patch
  expect_shapes_of_network(config, "no class token, not square");
  config = tiny_vit();
  config.vit.concat_pool = true;
  expect_shapes_of_network(config, "class token and mean of patches");
}

TEST(SiteShapes, OfSwinCountPaddedWindows) {
  expect_shapes_of_network(tiny_swin(64, 64), "16x16");
  expect_shapes_of_network(tiny_swin(40, 40), "10x10 padded to 12x12");
  expect_shapes_of_network(tiny_swin(44, 28), "11x7: odd merges, not square");
  expect_shapes_of_network(tiny_swin(8, 56), "2x14: smaller than the window in one direction");
  const std::vector<SiteShape> shapes = site_shapes(tiny_swin(40, 40));
  EXPECT_EQ(shapes[1].name, "layers.0.blocks.0.attn.qkv");
  EXPECT_EQ(shapes[1].rows, 144);
  EXPECT_EQ(shapes[4].name, "layers.0.blocks.0.mlp.fc1");
  EXPECT_EQ(shapes[4].rows, 100);
}

TEST(Registry, NoArchitectureIsBeyondTheLimits) {
  for (const std::string& name : list_architectures()) {
    ModelConfig config = architecture_config(name);
    EXPECT_NO_THROW(check_config(config)) << name;
    if (config.family == Family::kSwin) continue;
    // The largest images that such models are used with.
    config.image_height = config.image_width = 1024 / config.vit.patch_height * config.vit.patch_height;
    EXPECT_NO_THROW(check_config(config)) << name;
  }
}

}  // namespace
}  // namespace igq
