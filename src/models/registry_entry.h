// Rows of the generated table of architectures, registry_table.cc.
#pragma once

#include <cstdint>
#include <span>

#include "models/config.h"

namespace igq::registry {

/// Mean and standard deviation of the input's colours.
enum class Colours {
  kImagenet,   ///< (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  kInception,  ///< 0.5, 0.5
  kClip,       ///< (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
  kUnit,       ///< 0, 1
  kSatellite,  ///< (0.43, 0.411, 0.296), (0.213, 0.156, 0.143)
};

/// What a network is fed with, and how many classes it tells apart.
struct InputEntry {
  int size, classes;  ///< square images; 0 classes: published without a head
  Colours colours;
  double crop_pct;
  CropMode crop_mode = CropMode::kCenter;
  Interpolation interpolation = Interpolation::kBicubic;
};

/// Where a ViT differs from the first one: a class token, position embedding of all tokens, norm before pooling.
enum Trait : std::uint32_t {
  kNoClassToken = 1 << 0,
  kDistilled = 1 << 1,
  kPatchPositions = 1 << 2,  ///< VitConfig::no_embed_class
  kNoQkvBias = 1 << 3,
  kLayerScale = 1 << 4,
  kPreNorm = 1 << 5,
  kNoNorm = 1 << 6,
  kFcNorm = 1 << 7,
  kSwiglu = 1 << 8,
  kAveragePool = 1 << 9,
  kNoPositions = 1 << 10,
  kRopeDinov3 = 1 << 11,
  kRopeEva = 1 << 12,  ///< theta 10,000, trained for 16 x 16 patches
  kMlpNorm = 1 << 13,
  kNoKeyBias = 1 << 14,
  kAttentionPool = 1 << 15,
};

struct VitEntry {
  const char* name;
  InputEntry input;
  int patch, width, depth, heads, mlp_hidden;
  std::uint32_t traits = 0;
  int registers = 0;
  kernels::Activation activation = kernels::Activation::kGelu;
  float norm_eps = 1e-6f;
};

struct SwinEntry {
  const char* name;
  InputEntry input;
  int patch, width, depths[4], heads[4], window;
};

/// Published weights of an architecture: "name.tag".
struct TagEntry {
  const char* name;
  InputEntry input;
};

// Each ascending by name.
std::span<const VitEntry> vits();
std::span<const SwinEntry> swins();
std::span<const TagEntry> tags();

}  // namespace igq::registry
