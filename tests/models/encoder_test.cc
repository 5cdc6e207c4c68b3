// Models without a head: their embedding and tokens against timm's num_classes=0 and transformers' bare models
// (tools/make_encoder_fixtures.py), and what a classifier gives of the same.
#include <gtest/gtest.h>

#include <algorithm>

#include "models/config_json.h"
#include "tests/models/checkpoint_files.h"
#include "tests/npy.h"

namespace igq {
namespace {

using test::EditedFixture;
using Tensors = std::map<std::string, EditedFixture::Tensor>;

void drop_heads(Tensors& tensors) {
  std::erase_if(tensors, [](const auto& entry) {
    const std::string& name = entry.first;
    return name.starts_with("head") || name.starts_with("classifier.");
  });
}

std::vector<float> outputs(Model& model, const std::vector<float>& images, std::int64_t values, ModelOutput output) {
  std::vector<float> all(static_cast<std::size_t>(2 * values));
  Runner runner(model, Execution::kFloat, best_isa(), 2, output);
  runner.run_batch(images.data(), 2, all.data());
  return all;
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, const char* what) {
  const double largest = test::largest_size(want);
  EXPECT_LE(test::largest_difference(got, want), 1e-4 * largest) << what;
}

class Encoder : public testing::TestWithParam<std::string> {};

TEST_P(Encoder, EmbeddingAndTokensAgree) {
  EditedFixture fixture(GetParam());
  const std::vector<float> images = test::read_npy(fixture.path() / "input.npy").as<float>();
  const test::Npy embedding = test::read_npy(fixture.path() / "embedding.npy"),
                  tokens = test::read_npy(fixture.path() / "tokens.npy");
  const LoadedModel classifier = load_model(fixture.path());
  const std::vector<float> logits =
      outputs(*classifier.model, images, classifier.model->config().num_classes, ModelOutput::kMain);
  fixture.edit_tensors(drop_heads);
  const LoadedModel loaded = load_model(fixture.path());
  Model& model = *loaded.model;
  EXPECT_EQ(model.config().num_classes, 0);
  EXPECT_TRUE(model.config().labels.empty());
  ASSERT_EQ(embedding.shape, (std::vector<std::int64_t>{2, embedding_width(model.config())}));
  ASSERT_EQ(tokens.shape[1], model.output_tokens());
  const std::int64_t width = embedding.shape[1], all = tokens.shape[1] * tokens.shape[2];
  expect_close(outputs(model, images, width, ModelOutput::kMain), embedding.as<float>(), "main");
  expect_close(outputs(model, images, width, ModelOutput::kEmbedding), embedding.as<float>(), "embedding");
  expect_close(outputs(model, images, all, ModelOutput::kTokens), tokens.as<float>(), "tokens");
  expect_close(outputs(*classifier.model, images, all, ModelOutput::kTokens), tokens.as<float>(), "of the classifier");
  // Asking for another output changes no bit of the logits, and a classifier gives the same vector unless DINOv2's
  // reads the mean of the patches beside it.
  const auto classifier_width = embedding_width(classifier.model->config());
  const std::vector<float> features = outputs(*classifier.model, images, classifier_width, ModelOutput::kEmbedding);
  ASSERT_EQ(classifier_width, classifier.model->config().vit.concat_pool ? 2 * width : width);
  std::vector<float> first = embedding.as<float>();
  first.resize(static_cast<std::size_t>(width));  // of the first image
  expect_close({features.begin(), features.begin() + width}, first, "the classifier's features");
  EXPECT_EQ(logits, outputs(*classifier.model, images, classifier.model->config().num_classes, ModelOutput::kMain));
}

INSTANTIATE_TEST_SUITE_P(Models, Encoder,
                         testing::Values("vit_token", "vit_avg", "vit_dinov2_reg", "deit_distilled", "swin_basic",
                                         "hf_vit", "hf_deit", "hf_dinov2", "hf_dinov2_reg", "hf_swin"),
                         [](const auto& fixture) { return fixture.param; });

TEST(Encoders, ConfigurationsWithoutClassesAndBareNames) {
  EditedFixture bare("hf_dinov2");
  const std::vector<float> images = test::read_npy(bare.path() / "input.npy").as<float>();
  const std::vector<float> want = test::read_npy(bare.path() / "embedding.npy").as<float>();
  bare.edit_json("config.json", [](nlohmann::json& c) {
    c["architectures"] = {"Dinov2Model"};
    c.erase("id2label");
    c.erase("label2id");
  });
  bare.edit_tensors([](Tensors& tensors) {
    drop_heads(tensors);
    Tensors renamed;
    for (auto& [name, tensor] : tensors)
      renamed[name.starts_with("dinov2.") ? name.substr(7) : name] = std::move(tensor);
    tensors = std::move(renamed);
  });
  const LoadedModel loaded = load_model(bare.path());
  EXPECT_TRUE(loaded.model->config().notes.empty());
  expect_close(outputs(*loaded.model, images, 32, ModelOutput::kMain), want, "bare names");

  EditedFixture timm("vit_token");
  timm.edit_json("config.json", [](nlohmann::json& c) { c["model_args"]["num_classes"] = 0; });
  EXPECT_SAYS(test::load_error(timm.path()), "extra: head.bias, head.weight");  // the two must agree
  timm.edit_tensors(drop_heads);
  EXPECT_EQ(load_model(timm.path()).model->config().num_classes, 0);
  timm.edit_tensors([](Tensors& tensors) { tensors["head.bias"] = {{5}, test::zeros(5)}; });
  EXPECT_SAYS(test::load_error(timm.path()), "extra: head.bias");  // half a head is none
}

// SigLIP's attention pooling: transformers' towers, and timm's with a classifier behind it.
TEST(Encoders, AttentionPooling) {
  for (const std::string name : {"siglip", "siglip_vision", "timm_siglip"}) {
    const auto folder = test::fixtures() / "towers" / name;
    const LoadedModel loaded = load_model(folder);
    const ModelConfig& config = loaded.model->config();
    EXPECT_EQ(config.vit.pooling, Pooling::kAttention) << name;
    EXPECT_EQ(config.num_classes, name == "timm_siglip" ? 5 : 0) << name;
    const std::vector<float> images = test::read_npy(folder / "input.npy").as<float>();
    const test::Npy want = test::read_npy(folder / "output.npy");
    expect_close(outputs(*loaded.model, images, want.shape[1], ModelOutput::kMain), want.as<float>(), name.c_str());
    for (const char* site :
         {"attn_pool.kv", "attn_pool.attn", "attn_pool.proj", "attn_pool.mlp.fc1", "attn_pool.mlp.fc2"})
      EXPECT_GE(loaded.model->find_site(site), 0) << site;
    const ModelConfig again = config_from_json(config_to_json(config));
    EXPECT_EQ(config_to_json(again), config_to_json(config));
  }
  EditedFixture headless("siglip_vision", "towers");
  headless.edit_json("config.json", [](nlohmann::json& c) { c["vision_use_head"] = false; });
  EXPECT_SAYS(test::load_error(headless.path()), "'vision_use_head' is false");
}

// CLIP's and SigLIP's vision towers as transformers and open_clip name them: projected vectors and logits.
TEST(Encoders, Towers) {
  for (const std::string name : {"clip", "clip_vision", "open_clip", "clip_classifier", "siglip_classifier"}) {
    const auto folder = test::fixtures() / "towers" / name;
    const LoadedModel loaded = load_model(folder);
    const bool classifier = name.ends_with("classifier");
    EXPECT_EQ(loaded.model->config().num_classes, classifier ? 5 : 0) << name;
    EXPECT_EQ(loaded.model->config().vit.projection, classifier ? 0 : 12) << name;
    EXPECT_EQ(loaded.model->find_site("projection") >= 0, !classifier) << name;
    const std::vector<float> images = test::read_npy(folder / "input.npy").as<float>();
    const test::Npy want = test::read_npy(folder / "output.npy");
    expect_close(outputs(*loaded.model, images, want.shape[1], ModelOutput::kMain), want.as<float>(), name.c_str());
    const ModelConfig again = config_from_json(config_to_json(loaded.model->config()));
    EXPECT_EQ(config_to_json(again), config_to_json(loaded.model->config()));
  }
}

}  // namespace
}  // namespace igq
