// Which files are a checkpoint, what its tensors may be called, and what is said when they do not fit.
#include "models/checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "models/registry.h"
#include "tests/models/checkpoint_files.h"

namespace igq {
namespace {

using test::EditedFixture;
using test::load_error;
using Tensors = std::map<std::string, EditedFixture::Tensor>;

TEST(Checkpoint, OneErrorNamesMissingExtraAndMisshapen) {
  EditedFixture fixture("vit_token");
  fixture.edit_tensors([](Tensors& t) {
    t.erase("norm.bias");
    t.erase("blocks.1.attn.proj.weight");
    t["head_dist.weight"] = t.at("head.weight");
    t.at("blocks.0.mlp.fc1.bias") = {{64, 2}, test::zeros(128)};
    t.at("head.bias") = {{4}, test::zeros(4)};
  });
  const std::string text = load_error(fixture.path());
  EXPECT_SAYS(text, fixture.weights().string());
  EXPECT_SAYS(text, "vit_tiny_patch16_224");
  EXPECT_SAYS(text, "missing: blocks.1.attn.proj.weight, norm.bias");
  EXPECT_SAYS(text, "extra: head_dist.weight");
  EXPECT_SAYS(text, "misshapen: blocks.0.mlp.fc1.bias is [64, 2] instead of [128], head.bias is [4] instead of [5]");
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(Checkpoint, BlocksWithTheSameFaultAreOne) {
  EditedFixture fixture("vit_dinov2");
  fixture.edit_json("config.json", [](auto& c) { c["model_args"]["init_values"] = nullptr; });
  EXPECT_SAYS(load_error(fixture.path()), "extra: blocks.{0-1}.ls1.gamma, blocks.{0-1}.ls2.gamma:");
}

TEST(Checkpoint, SwinFaultsNameTheStage) {
  EditedFixture fixture("swin_basic");
  fixture.edit_tensors([](Tensors& t) {
    t.erase("layers.1.downsample.norm.weight");
    t.at("layers.0.blocks.1.attn.relative_position_bias_table") = {{7, 7, 2}, test::zeros(98)};
  });
  const std::string text = load_error(fixture.path());
  EXPECT_SAYS(text, "missing: layers.1.downsample.norm.weight;");
  EXPECT_SAYS(text, "layers.0.blocks.1.attn.relative_position_bias_table is [7, 7, 2] instead of [49, 2]");
}

TEST(Checkpoint, PrefixesAreTakenOff) {
  for (const std::string prefix : {"model.", "module.", "module.model.", "_orig_mod.", "timm_model."}) {
    EditedFixture fixture("vit_token");
    const std::string before = checkpoint_checksum(*open_checkpoint(fixture.path()).tensors);
    fixture.edit_tensors([&](Tensors& t) {
      Tensors renamed;
      for (auto& [name, tensor] : t) renamed[prefix + name] = std::move(tensor);
      t = std::move(renamed);
    });
    EXPECT_EQ(checkpoint_checksum(*open_checkpoint(fixture.path()).tensors), before) << prefix;
  }
}

TEST(Checkpoint, TwoTensorsOfOneNameAreAnError) {
  EditedFixture fixture("vit_token");
  fixture.edit_tensors([](Tensors& t) { t["model.head.weight"] = t.at("head.weight"); });
  EXPECT_SAYS(load_error(fixture.path()), "'head.weight' and 'model.head.weight' are both tensor 'head.weight'");
}

TEST(Checkpoint, BuffersAndUnusedHeadsAreIgnored) {
  EditedFixture fixture("swin_basic");
  const std::string before = checkpoint_checksum(*open_checkpoint(fixture.path()).tensors);
  fixture.edit_tensors([](Tensors& t) {
    t["layers.0.blocks.1.attn_mask"] = {{4, 16, 16}, test::zeros(1024)};
    t["layers.0.blocks.0.attn.relative_position_index"] = {{16, 16}, test::zeros(256)};
  });
  EXPECT_EQ(checkpoint_checksum(*open_checkpoint(fixture.path()).tensors), before);
  EditedFixture hf("hf_vit");
  const auto want = test::logits_of(load_model(hf.path()));
  hf.edit_tensors([](Tensors& t) {
    t["vit.pooler.dense.weight"] = {{32, 32}, test::zeros(1024)};
    t["vit.embeddings.mask_token"] = {{1, 1, 32}, test::zeros(32)};
  });
  EXPECT_EQ(test::logits_of(load_model(hf.path())), want);
}

TEST(Checkpoint, MissingKeyBiasIsZero) {
  EditedFixture zero("hf_vit"), missing("hf_vit");
  const std::string name = "vit.encoder.layer.0.attention.attention.key.bias";
  zero.edit_tensors([&](Tensors& t) { t.at(name).values.resize_zero(32); });
  missing.edit_tensors([&](Tensors& t) { t.erase(name); });
  EXPECT_EQ(test::logits_of(load_model(missing.path())), test::logits_of(load_model(zero.path())));
  missing.edit_tensors([](Tensors& t) { t.erase("vit.encoder.layer.1.attention.attention.key.weight"); });
  const std::string text = load_error(missing.path());
  EXPECT_SAYS(text, "missing: blocks.1.attn.qkv.bias, blocks.1.attn.qkv.weight");
  EXPECT_SAYS(text, "vit.encoder.layer.1.attention.attention.query.weight");
}

TEST(Checkpoint, NamesOfDinov2sOwnRelease) {
  EditedFixture fixture("vit_dinov2_reg");
  const auto want = test::logits_of(load_model(fixture.path()));
  fixture.edit_tensors([](Tensors& t) {
    t["mask_token"] = {{1, 32}, test::zeros(32)};
    t["register_tokens"] = std::move(t.at("reg_token"));
    t.erase("reg_token");
    // The position embedding covers the class token there: move a part of the token into it.
    auto& cls = t.at("cls_token").values;
    auto& pos = t.at("pos_embed");
    AlignedBuffer<float> all(pos.values.size() + 32);
    std::copy(pos.values.begin(), pos.values.end(), all.begin() + 32);
    for (std::size_t i = 0; i < 32; ++i) {
      all[i] = 0.5f;
      cls[i] -= 0.5f;
    }
    pos = {{1, pos.shape[1] + 1, 32}, std::move(all)};
  });
  const auto got = test::logits_of(load_model(fixture.path()));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5f);
}

TEST(Checkpoint, ValuesThatAreNotFiniteAreNamed) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EditedFixture fixture("vit_token");
    fixture.edit_tensors([&](Tensors& t) { t.at("blocks.1.norm2.weight").values[31] = bad; });
    EXPECT_SAYS(load_error(fixture.path()), "'blocks.1.norm2.weight' holds values that are not finite");
  }
}

TEST(Checkpoint, PicklesAreRefusedWithTheLineThatConverts) {
  const test::TemporaryFolder folder;
  const std::string quote = "/it's $5.pth";
  for (const std::string name : {"/pytorch_model.bin", "/model.pth", "/model.pt", "/last.ckpt", quote.c_str()}) {
    const std::string path = folder.path().string() + name;
    std::ofstream(path) << "PK";
    const std::string text = load_error(path);
    std::string literal = path;
    if (name == quote) literal.replace(literal.find(quote), quote.size(), "/it\\\\'s \\$5.pth");
    EXPECT_SAYS(text, path + " is a PyTorch pickle");
    EXPECT_SAYS(
        text,
        "Convert it once with: python3 -c \"import torch, pickle, types; from safetensors.torch import save_file; ");
    EXPECT_SAYS(text, "s = torch.load('" + literal + "', map_location='cpu', pickle_module=P, weights_only=False); ");
    EXPECT_SAYS(text, "if torch.is_tensor(v)}, '" + folder.path().string() + "/model.safetensors')\", and give ");
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_EQ(text.find("\\n"), std::string::npos) << text;  // nor one that was escaped
  }
  // The folder of a checkpoint that has nothing else.
  EXPECT_SAYS(load_error(folder.path()), "is a PyTorch pickle");
}

TEST(Checkpoint, FilesOfOtherKindsSayWhatToDo) {
  const auto says = [](const char* name, const std::string& bytes, const std::string& expected) {
    const test::TemporaryFolder folder;
    std::ofstream(folder.path() / name) << bytes;
    EXPECT_SAYS(load_error(folder.path() / name), expected);
    EXPECT_SAYS(load_error(folder.path()), expected);
  };
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  says("model.safetensors", pointer, "is a pointer of git-lfs, not the file itself");
  says("pytorch_model.bin", pointer, "is a pointer of git-lfs");
  says("model.gguf", "GGUF\3", "is a GGUF file");
  says("tf_model.h5", "\x89HDF", "holds the weights of TensorFlow");
  says("flax_model.msgpack", "x", "holds the weights of Flax");
  says("model.pt", "PK\3\4 constants.pkl", "is a TorchScript program");
  // What a trainer keeps beside the weights is not taken for them.
  const test::TemporaryFolder trainer;
  std::ofstream(trainer.path() / "training_args.bin") << "x";
  EXPECT_SAYS(load_error(trainer.path()), "holds no model");
  // Nor is an array.
  const test::TemporaryFolder array;
  std::ofstream(array.path() / "input.npy") << "\x93NUMPY";
  EXPECT_SAYS(load_error(array.path()), "holds no model");
  EXPECT_SAYS(load_error(array.path() / "input.npy"), "is a NumPy array");

  EditedFixture fixture("hf_vit");
  fixture.edit_json("config.json", [](nlohmann::json& c) { c["architectures"] = {"ViTModel"}; });
  fixture.edit_tensors([](Tensors& t) {
    t.erase("classifier.weight");
    t.erase("classifier.bias");
  });
  const LoadedModel encoder = load_model(fixture.path());
  EXPECT_EQ(encoder.model->config().num_classes, 0);
  EXPECT_SAYS(encoder.model->config().notes.at(0), "the weights have no head");
  // What igq does not run at all is said before what its folder lacks.
  EditedFixture text_model("hf_vit");
  std::filesystem::remove(text_model.path() / "preprocessor_config.json");
  EXPECT_SAYS(load_error(text_model.path()), "no preprocessor_config.json beside it");
  text_model.edit_json("config.json", [](nlohmann::json& c) {
    c["model_type"] = "bert";
    c["architectures"] = {"BertModel"};
  });
  EXPECT_SAYS(load_error(text_model.path()), "'architectures' names BertModel and 'model_type' is bert");
  std::ofstream(fixture.path() / "config.json") << pointer;
  EXPECT_SAYS(load_error(fixture.path()), "config.json is a pointer of git-lfs");

  const test::TemporaryFolder adapter;
  std::ofstream(adapter.path() / "adapter_config.json") << R"({"base_model_name_or_path":"some/vit"})";
  std::ofstream(adapter.path() / "adapter_model.safetensors") << "x";
  EXPECT_SAYS(load_error(adapter.path()),
              "is an adapter (LoRA), which is no model without its base model some/vit: merge");
  EXPECT_SAYS(load_error(adapter.path() / "adapter_model.safetensors"), "merge_and_unload");
}

// What training leaves before and in the names: whatever stands before the patch embedding, and wrappers anywhere.
TEST(Checkpoint, PrefixesOfTraining) {
  const auto want = test::logits_of(load_model(EditedFixture("vit_token").path()));
  const auto renamed = [](const char* fixture_name, auto rename) {
    EditedFixture fixture(fixture_name);
    fixture.edit_tensors([&](Tensors& tensors) {
      Tensors all;
      for (auto& [name, tensor] : tensors) all.emplace(rename(name), std::move(tensor));
      tensors = std::move(all);
    });
    return test::logits_of(load_model(fixture.path()));
  };
  for (const std::string prefix :
       {"module._orig_mod.", "_orig_mod.module.", "net.", "backbone.model.", "ema_model.module."})
    EXPECT_EQ(renamed("vit_token", [&](const std::string& name) { return prefix + name; }), want) << prefix;
  EXPECT_EQ(renamed("vit_token",
                    [](const std::string& name) {
                      return name.starts_with("blocks.1.") ? "blocks.1._orig_mod." + name.substr(9) : name;
                    }),
            want);
  const auto hf = test::logits_of(load_model(EditedFixture("hf_vit").path()));
  EXPECT_EQ(renamed("hf_vit", [](const std::string& name) { return "net.module." + name; }), hf);
}

TEST(Checkpoint, WhatIsNoModel) {
  const test::TemporaryFolder folder;
  EXPECT_SAYS(load_error(folder.path()), "holds no model");
  EXPECT_SAYS(load_error(folder.path() / "nothing"), "does not exist");
  std::ofstream(folder.path() / "model.onnx") << "x";
  EXPECT_SAYS(load_error(folder.path() / "model.onnx"), "is an ONNX graph; igq reads safetensors: give the PyTorch");
  EXPECT_SAYS(load_error(folder.path()), "is an ONNX graph");
  std::ofstream(folder.path() / "notes.txt") << "x";
  EXPECT_SAYS(load_error(folder.path() / "notes.txt"), "no model that igq reads");
  std::ofstream(folder.path() / "weights.safetensors") << "x";
  EXPECT_SAYS(load_error(folder.path()), "has no model.safetensors, but weights.safetensors");
}

TEST(Checkpoint, BareFileNeedsAnArchitecture) {
  const test::TemporaryFolder folder;
  ModelConfig config = architecture_config("test_vit");
  config.num_classes = 7;
  const LoadedModel random = random_model(config, 1);
  const auto file = folder.path() / "weights.safetensors";
  write_safetensors(file, *random.tensors, false);
  const std::string text = load_error(file);
  EXPECT_SAYS(text, "no config.json beside it");
  EXPECT_SAYS(text, "--arch");

  const LoadedModel loaded = load_model(file, {.architecture = "test_vit"});
  EXPECT_EQ(loaded.name, "weights.safetensors");
  EXPECT_EQ(loaded.model->config().num_classes, 7);  // the head says so
  EXPECT_EQ(test::logits_of(loaded), test::logits_of(random));
  EXPECT_EQ(checkpoint_checksum(*loaded.tensors), checkpoint_checksum(*random.tensors));

  EXPECT_SAYS(load_error(file, {.architecture = "test_vti"}), "test_vit");
  EXPECT_SAYS(load_error(file, {.architecture = "vit_tiny_patch16_224"}), "misshapen");
}

TEST(Checkpoint, BareFileTakesTheConfigurationBesideIt) {
  EditedFixture fixture("swin_basic");
  const auto want = test::logits_of(load_model(fixture.path()));
  const auto moved = fixture.path() / "other.safetensors";
  std::filesystem::rename(fixture.weights(), moved);
  EXPECT_EQ(test::logits_of(load_model(moved)), want);
}

TEST(Checkpoint, IndexFileItself) {
  const auto folder = test::fixtures() / "models" / "hf_vit_sharded";
  EXPECT_EQ(test::logits_of(load_model(folder / "model.safetensors.index.json")), test::logits_of(load_model(folder)));
}

TEST(Checkpoint, ArchitectureOverridesTimmsAndNotTransformers) {
  EditedFixture fixture("vit_dinov2");
  EXPECT_SAYS(load_error(fixture.path(), {.architecture = "vit_small_patch16_224"}), "ls1.gamma");
  EXPECT_EQ(load_error(fixture.path(), {.architecture = "vit_base_patch14_dinov2"}), "");
  EXPECT_SAYS(load_error(test::fixtures() / "models" / "hf_vit", {.architecture = "vit_small_patch16_224"}), "--arch");
}

TEST(Checkpoint, ImageSizeFromTheCommandLine) {
  // The fixture's config says 48; stored at 32 and asked for 48 on the command line it must give the same.
  EditedFixture fixture("vit_posresize");
  const auto want = test::logits_of(load_model(fixture.path()));
  fixture.edit_json("config.json", [](auto& c) {
    c["model_args"]["img_size"] = 32;
    c["pretrained_cfg"]["input_size"] = {3, 32, 32};
  });
  EXPECT_EQ(load_model(fixture.path()).model->config().image_height, 32);
  const LoadedModel loaded = load_model(fixture.path(), {.architecture = "", .image_height = 48, .image_width = 48});
  EXPECT_EQ(loaded.model->config().image_width, 48);
  EXPECT_EQ(test::logits_of(loaded), want);
  EXPECT_SAYS(load_error(fixture.path(), {.architecture = "", .image_height = 4, .image_width = 4}), "patch");
  EXPECT_SAYS(load_error(fixture.path(), {.architecture = "", .image_height = -4, .image_width = 48}), "--img-size");

  // transformers' resize before the crop follows.
  const auto dino = test::fixtures() / "models" / "hf_dinov2";  // short side to 32, crop of 28
  const ModelConfig larger = open_checkpoint(dino, {.architecture = "", .image_height = 56, .image_width = 42}).config;
  EXPECT_EQ(larger.preprocess.resize_short, 64);
  const auto deit = test::fixtures() / "models" / "hf_deit";  // to 40x40, crop of 32
  const ModelConfig wide = open_checkpoint(deit, {.architecture = "", .image_height = 32, .image_width = 64}).config;
  EXPECT_EQ(wide.preprocess.resize_height, 40);
  EXPECT_EQ(wide.preprocess.resize_width, 80);
}

TEST(Checkpoint, PositionEmbeddingOfAnotherWidthOrWithoutPatches) {
  EditedFixture fixture("vit_token");
  fixture.edit_tensors([](Tensors& t) { t.at("pos_embed") = {{1, 1, 32}, test::zeros(32)}; });
  EXPECT_SAYS(load_error(fixture.path()), "pos_embed is [1, 1, 32] instead of [1, 17, 32]");
  fixture.edit_tensors([](Tensors& t) { t.at("pos_embed") = {{1, 8, 32}, test::zeros(256)}; });
  EXPECT_SAYS(load_error(fixture.path()), "'pos_embed' has 8 tokens");
}

TEST(Checkpoint, ChecksumSeesNamesShapesAndValues) {
  EditedFixture fixture("vit_token");
  const auto sum = [&] { return checkpoint_checksum(*open_safetensors(fixture.weights())); };
  const std::string first = sum();
  EXPECT_EQ(first.substr(0, 5), "xxh3:");
  fixture.edit_tensors([](Tensors&) {});
  EXPECT_EQ(sum(), first);
  fixture.edit_tensors([](Tensors& t) { t.at("cls_token").shape = {1, 32}; });
  const std::string shape = sum();
  EXPECT_NE(shape, first);
  fixture.edit_tensors([](Tensors& t) { t.at("cls_token").values[0] += 1.0f; });
  const std::string value = sum();
  EXPECT_NE(value, shape);
  fixture.edit_tensors([](Tensors& t) {
    t["cls_tokem"] = t.at("cls_token");
    t.erase("cls_token");
  });
  EXPECT_NE(sum(), value);
}

}  // namespace
}  // namespace igq
