// The tiny quantized model of the format's golden files and of the tests of .igq files: every grouping, every width.
// What it returns for a version must never change once that version's golden file is committed.
#pragma once

#include <memory>
#include <string>
#include <tuple>

#include "models/igq_file.h"
#include "quant/weight_groups.h"
#include "tests/random_model.h"

namespace igq::test {

inline WeightPlan random_weight(int in, int out, int bits, Random& random) {
  WeightPlan weight;
  weight.bits = bits;
  weight.codes.resize(static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
  const std::uint64_t levels = std::uint64_t{1} << bits;
  for (auto& c : weight.codes) {
    c = static_cast<std::int8_t>(static_cast<int>(random.below(levels)) - static_cast<int>(levels / 2));
  }
  for (int o = 0; o < out; ++o) {
    weight.scale.push_back(0.001f + 0.01f * static_cast<float>(random.uniform()));
    weight.zero_point.push_back(static_cast<std::int32_t>(random.below(levels)));
  }
  return weight;
}

inline Bounds random_bounds(Random& random) {
  return {-static_cast<float>(random.uniform()), static_cast<float>(random.uniform())};
}

/// A ViT of two blocks, 8 channels, 2 heads, patches of 4 in images of 8, 3 classes.
inline QuantizedModel tiny_igq() {
  Random random(20240400928);
  QuantizedModel model;
  ModelConfig& config = model.config;
  config.architecture = "tiny_test_vit";
  config.num_classes = 3;
  config.image_height = config.image_width = 8;
  config.vit.patch_height = config.vit.patch_width = 4;
  config.vit.embed_dim = 8;
  config.vit.depth = 2;
  config.vit.num_heads = 2;
  config.vit.mlp_hidden = 13;
  config.preprocess.crop_pct = 0.9;
  config.labels = {"cat", "dog \"Rex\"", "\xc3\xa9l\xc3\xa9phant"};

  const auto tensors = std::make_shared<MemoryTensors>("memory");
  add_random(*tensors, "cls_token", {1, 1, 8}, random);
  add_random(*tensors, "pos_embed", {1, 5, 8}, random);
  add_random(*tensors, "patch_embed.proj.bias", {8}, random);
  add_random(*tensors, "norm.weight", {8}, random);
  add_random(*tensors, "norm.bias", {8}, random);
  add_random(*tensors, "head.bias", {3}, random);

  const auto linear = [&](const std::string& site, int in, int out, int weight_bits, Grouping grouping, int bits,
                          int groups) {
    LinearPlan& plan = model.plan.linears[site];
    plan.input.grouping = grouping;
    plan.input.bits = bits;
    for (int g = 0; g < groups; ++g) {
      plan.input.groups.push_back(grouping == Grouping::kScale ? Bounds{0.0f, 0.1f * static_cast<float>(g + 1)}
                                                               : random_bounds(random));
    }
    if (weight_bits != 0) plan.weight = random_weight(in, out, weight_bits, random);
    if (weight_bits == 0) add_random(*tensors, site + ".weight", {out, in}, random);
  };
  linear("patch_embed.proj", 48, 8, 8, Grouping::kLayer, 8, 1);
  for (int b = 0; b < 2; ++b) {
    const std::string block = "blocks." + std::to_string(b) + ".";
    for (const char* name : {"norm1", "norm2"}) {
      add_random(*tensors, block + name + ".weight", {8}, random);
      add_random(*tensors, block + name + ".bias", {8}, random);
    }
    add_random(*tensors, block + "attn.qkv.bias", {24}, random);
    add_random(*tensors, block + "attn.proj.bias", {8}, random);
    add_random(*tensors, block + "mlp.fc1.bias", {13}, random);
    add_random(*tensors, block + "mlp.fc2.bias", {8}, random);
    linear(block + "attn.qkv", 8, 24, 2 + b, Grouping::kIgq, 4, 8);
    linear(block + "attn.proj", 8, 8, 4 + b, Grouping::kStaticGroup, 6, 2);
    linear(block + "mlp.fc1", 8, 13, 6 + b, Grouping::kScale, 4, 4);
    linear(block + "mlp.fc2", 13, 8, b == 0 ? 0 : 4, b == 0 ? Grouping::kFloat : Grouping::kUpperBound, 8, 0);
    AttentionPlan& attention = model.plan.attentions[block + "attn"];
    attention.qkv.grouping = b == 0 ? QkvGrouping::kHead : QkvGrouping::kRow;
    attention.qkv.bits = 4 + b;
    for (int h = 0; h < 2 && b == 0; ++h) {
      for (auto* bounds : {&attention.qkv.q, &attention.qkv.k, &attention.qkv.v}) {
        bounds->push_back(random_bounds(random));
      }
    }
    attention.softmax.bits = 4;
    attention.softmax.grouping = b == 0 ? Grouping::kIgq : Grouping::kUpperBound;
    if (b == 0) attention.softmax.groups = {{0.0f, 0.125f}, {0.0f, 0.3f}, {0.0f, 1.0f}};
  }
  linear("head", 8, 3, 8, Grouping::kLayer, 8, 1);
  model.tensors = tensors;
  model.provenance = {
      "tiny.safetensors",      "xxh3:0123456789abcdef", "xxh3:fedcba9876543210", 32, ~std::uint64_t{0}, "0.1.0",
      "--bits w4a4 --groups 8"};
  model.report = {{"snr_db", {{"blocks.0.attn.qkv", 12.25}}}, {"note", "made by a test"}};
  return model;
}

/// The same with weight groups, which need version 2: at 2, 3 and 4 bits, the last group shorter than the others.
inline QuantizedModel tiny_igq_grouped() {
  QuantizedModel model = tiny_igq();
  Random random(2);
  for (const auto& [site, bits, group_size] :
       {std::tuple{"blocks.0.attn.qkv", 2, 3}, {"blocks.1.attn.qkv", 3, 4}, {"blocks.0.attn.proj", 4, 5}}) {
    WeightPlan& weight = model.plan.linears.at(site).weight;
    const AlignedBuffer<std::int8_t> codes = weight.codes;
    const auto out = static_cast<int>(weight.scale.size()), in = static_cast<int>(codes.size()) / out;
    const std::vector<float> scale = weight.scale;
    weight = make_grouped_plan(in, out, bits, group_size);
    weight.scale = scale;
    for (std::size_t i = 0; i < weight.multiplier.size(); ++i) {
      weight.group_zero[i] = static_cast<std::uint8_t>(random.below(std::uint64_t{1} << bits));
      weight.multiplier[i] = static_cast<std::uint8_t>(
          1 + random.below(static_cast<std::uint64_t>(max_multiplier(bits, weight.group_zero[i]))));
    }
    expand_group_codes(weight, codes);
  }
  return model;
}

}  // namespace igq::test
