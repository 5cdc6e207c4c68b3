// A Mask R-CNN, or a Cascade Mask R-CNN, of some ten thousand random weights: the configuration is one of the fuzzers'.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "base/json.h"
#include "base/random.h"
#include "io/image.h"
#include "io/memory_tensors.h"

namespace igq::test {

inline nlohmann::json corpus(const std::string& name) {
  std::ifstream in(std::filesystem::path(IGQ_SOURCE_DIR) / "fuzz" / "corpus" / "detector" / name);
  return nlohmann::json::parse(in);
}

/// mmdetection's state dict of corpus("mask_rcnn") or corpus("cascade").
inline MemoryTensors weights(bool cascade) {
  MemoryTensors tensors("memory");
  Random random(5);
  const auto add = [&](const std::string& name, const Shape& shape) {
    std::size_t count = 1;
    for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
    AlignedBuffer<float> values(count);
    for (float& v : values) v = static_cast<float>(random.normal() * 0.2);
    if (name.ends_with("running_var"))
      for (float& v : values) v = v * v + 0.5f;
    tensors.add(name, shape, std::move(values));
  };
  const auto layer = [&](const std::string& name, const Shape& shape, std::int64_t out) {
    add(name + ".weight", shape);
    add(name + ".bias", {out});
  };
  layer("backbone.patch_embed.projection", {8, 3, 4, 4}, 8);
  layer("backbone.patch_embed.norm", {8}, 8);
  for (int stage = 0; stage < 2; ++stage) {
    const std::int64_t c = 8 << stage;
    for (int block = 0; block < 2; ++block) {
      const std::string name = "backbone.stages." + std::to_string(stage) + ".blocks." + std::to_string(block) + ".";
      layer(name + "norm1", {c}, c);
      layer(name + "norm2", {c}, c);
      layer(name + "attn.w_msa.qkv", {3 * c, c}, 3 * c);
      layer(name + "attn.w_msa.proj", {c, c}, c);
      add(name + "attn.w_msa.relative_position_bias_table", {49, 2});
      layer(name + "ffn.layers.0.0", {4 * c, c}, 4 * c);
      layer(name + "ffn.layers.1", {c, 4 * c}, c);
    }
    layer("backbone.norm" + std::to_string(stage), {c}, c);
    layer("neck.lateral_convs." + std::to_string(stage) + ".conv", {8, c, 1, 1}, 8);
    layer("neck.fpn_convs." + std::to_string(stage) + ".conv", {8, 8, 3, 3}, 8);
  }
  layer("backbone.stages.0.downsample.norm", {32}, 32);
  add("backbone.stages.0.downsample.reduction.weight", {16, 32});
  layer("rpn_head.rpn_conv", {8, 8, 3, 3}, 8);
  layer("rpn_head.rpn_cls", {3, 8, 1, 1}, 3);
  layer("rpn_head.rpn_reg", {12, 8, 1, 1}, 12);
  for (int stage = 0; stage < (cascade ? 2 : 1); ++stage) {
    const std::string part = cascade ? "." + std::to_string(stage) + "." : ".";
    const std::string box = "roi_head.bbox_head" + part, mask = "roi_head.mask_head" + part;
    if (cascade) {
      add(box + "shared_convs.0.conv.weight", {8, 8, 3, 3});
      layer(box + "shared_convs.0.bn", {8}, 8);
      add(box + "shared_convs.0.bn.running_mean", {8});
      add(box + "shared_convs.0.bn.running_var", {8});
    } else {
      layer(box + "shared_fcs.1", {16, 16}, 16);
    }
    layer(box + "shared_fcs.0", {16, 8 * 49}, 16);
    layer(box + "fc_cls", {3, 16}, 3);
    const std::int64_t boxes = cascade ? 4 : 8;
    layer(box + "fc_reg", {boxes, 16}, boxes);
    layer(mask + "convs.0.conv", {8, 8, 3, 3}, 8);
    layer(mask + "upsample", {8, 8, 2, 2}, 8);
    layer(mask + "conv_logits", {2, 8, 1, 1}, 2);
  }
  return tensors;
}

inline Image picture(int width, int height) {
  Random random(9);
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (std::uint8_t& v : image.rgb) v = static_cast<std::uint8_t>(random.below(256));
  return image;
}

}  // namespace igq::test
