// What a model is: every number that decides its layers, its preprocessing and its labels. Plain data; written by the
// registry (architecture names), config.json readers (timm, transformers) and the .igq header, read by vit.cc and
// swin.cc.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "io/preprocess.h"
#include "kernels/table.h"

namespace igq {

enum class Family { kVit, kSwin };
enum class Pooling {
  kToken,
  kAverage,
  kAttention,  ///< a learned query attends to the patches, an MLP behind it (SigLIP; timm's AttentionPoolLatent)
};
/// Rotary position embeddings (ops/rotary.h) and where their angles come from.
enum class Rope {
  kNone,
  kDinov3,  ///< 2 pi theta^(-4 j / head_dim) (2 (i + 0.5) / n - 1), n patches along the axis
  kEva,     ///< theta^(-4 j / head_dim) i / n rope_grid
};
/// How logits become scores. transformers' pipeline: sigmoid for problem_type multi_label_classification and for a
/// single logit, the logits themselves for regression, softmax otherwise.
enum class Scores { kSoftmax, kSigmoid, kNone };

/// Vision transformers in timm's terms (timm.models.vision_transformer.VisionTransformer and the distilled DeiT).
struct VitConfig {
  int patch_height = 16, patch_width = 16;
  int embed_dim = 192;
  int depth = 12;
  int num_heads = 3;
  int mlp_hidden = 768;  ///< width between fc1 and fc2 (SwiGLU: of one half)
  bool class_token = true;
  bool distilled = false;  ///< a second token and head; the two heads' logits are averaged
  int reg_tokens = 0;
  bool no_embed_class = false;      ///< position embedding covers patches only
  bool antialias_positions = true;  ///< resizing the position embedding: timm does, most of transformers does not
  bool qkv_bias = true;
  bool key_bias = true;  ///< false: that of the keys is zero, no parameter of the model (timm's Eva)
  bool layer_scale = false;
  bool pre_norm = false;   ///< layer norm after the embedding (CLIP); the patch embedding then has no bias
  bool final_norm = true;  ///< `norm` before pooling
  bool fc_norm = false;    ///< `fc_norm` after pooling
  bool swiglu = false;     ///< timm SwiGLUPacked: fc1 gives [gate, value] packed, activation silu
  int projection = 0;      ///< width of the projection behind pooling, without bias (CLIP); 0: none
  bool unit_head = false;  ///< the head reads the embedding divided by its length (zero-shot labels)
  Pooling pooling = Pooling::kToken;
  bool concat_pool = false;  ///< transformers Dinov2: head input is [class token, mean of patches]
  float norm_eps = 1e-6f;
  kernels::Activation activation = kernels::Activation::kGelu;
  bool positions = true;    ///< a learned position embedding, `pos_embed`
  Rope rope = Rope::kNone;  ///< q and k turn, first the half of the pairs that goes by rows
  float rope_theta = 100.0f;
  int rope_grid = 16;          ///< kEva: patches along a side that the angles were trained for
  bool mlp_norm = false;       ///< a layer norm, `mlp.norm`, before fc2 (EVA-02)
  int detection_tokens = 0;    ///< learned tokens after the patches (YOLOS)
  bool mid_positions = false;  ///< position embeddings added after every block but the last (YOLOS)
  /// A backbone: the tokens after `norm`, feature map "tokens", instead of pooling and head.
  bool feature_maps = false;
};

/// Swin v1 in timm's terms (timm.models.swin_transformer.SwinTransformer).
struct SwinConfig {
  int patch_size = 4;
  int embed_dim = 96;
  std::vector<int> depths = {2, 2, 6, 2};
  std::vector<int> num_heads = {3, 6, 12, 24};
  std::array<int, 2> window_size = {7, 7};
  float mlp_ratio = 4.0f;
  bool qkv_bias = true;
  bool pad_before_shift =
      false;  ///< transformers pads the map to whole windows, then shifts it; timm shifts, then pads
  /// Windows keep their size on maps that are smaller, which are padded up, and are shifted there too (detectors).
  bool fixed_window = false;
  /// A backbone: the map after every stage, through its own layer norm `norm0`, `norm1` ..., instead of `norm` and
  /// head.
  bool feature_maps = false;
  float norm_eps = 1e-5f;
};

struct ModelConfig {
  std::string architecture;  ///< timm name, or the transformers class it came from
  Family family = Family::kVit;
  int num_classes = 1000;  ///< 0: no head; the model gives embeddings
  int in_channels = 3;
  int image_height = 224, image_width = 224;
  VitConfig vit;
  SwinConfig swin;
  PreprocessConfig preprocess;
  std::vector<std::string> labels;  ///< class names by index; empty when unknown
  Scores scores = Scores::kSoftmax;
  /// What was assumed or left out while a checkpoint's configuration was read: lines for the user, not stored.
  std::vector<std::string> notes;
};

}  // namespace igq
