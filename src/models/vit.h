// Vision Transformer: ViT, DeiT (distilled too), DeiT-III, DINOv2, CLIP-style pre-norm; timm's VisionTransformer. With
// rotary embeddings DINOv3 and EVA-02, timm's Eva. With
// detection tokens and mid position embeddings, the backbone of YOLOS.
#pragma once

#include "models/attention_pool.h"
#include "models/model.h"
#include "models/size_cache.h"

namespace igq {

class Vit final : public Model {
 public:
  Vit(const ModelConfig& config, const ModelBuilder& builder);

  int steps() const override { return static_cast<int>(blocks_.size()) + 2; }  // the last: norm and head
  void run_step(ExecContext& context, int step, StepState& state) const override;
  int output_tokens() const override { return prefix_tokens_ + grid_height_ * grid_width_ + suffix_tokens(); }
  std::optional<BlockParts> block_parts(int step) override;

 private:
  struct Block {
    LayerNorm norm1;
    Linear qkv;
    Attention attention;
    Linear proj;
    AlignedBuffer<float> gamma1;  // LayerScale, empty without
    Mlp mlp;
  };
  /// The position embeddings for a grid of patches.
  struct Positions {
    AlignedBuffer<float> patches;   ///< [patches, dim]
    AlignedBuffer<float> mid;       ///< [blocks - 1, tokens, dim], empty without
    AlignedBuffer<float> cos, sin;  ///< [patches, head_dim / 2] (ops/rotary.h), empty without
  };
  void read_positions(const ModelBuilder& builder);
  Positions resize_positions(int grid_h, int grid_w) const;
  void add_rotation(int grid_h, int grid_w, Positions& positions) const;
  std::shared_ptr<const Positions> positions(int grid_h, int grid_w) const;
  int suffix_tokens() const { return config().vit.detection_tokens; }
  void embed(ExecContext& context, StepState& state) const;
  bool pools_by_attention() const { return config().vit.pooling == Pooling::kAttention; }
  bool pools_patches() const { return config().vit.pooling == Pooling::kAverage || config().vit.concat_pool; }
  int wanted_tokens(const ExecContext& context, int step, const StepState& state) const;
  void run_block(ExecContext& context, int index, int wanted, StepState& state) const;
  void take_output(ExecContext& context, StepState& state) const;
  void head(ExecContext& context, StepState& state) const;

  int grid_height_ = 0, grid_width_ = 0, prefix_tokens_ = 0;
  Linear patch_embed_;
  AlignedBuffer<float> prefix_;  // [prefix tokens, dim], position embedding added where it applies
  AlignedBuffer<float> suffix_;  // [detection tokens, dim], likewise
  // As stored: rows of the prefix (where they are covered), of the grid, of detection tokens; each [rows, dim].
  AlignedBuffer<float> stored_, stored_mid_;
  int stored_prefix_ = 0, stored_height_ = 0, stored_width_ = 0;
  std::shared_ptr<const Positions> configured_;
  std::unique_ptr<SizeCache<Positions>> others_;
  LayerNorm norm_pre_, norm_, fc_norm_;
  std::vector<Block> blocks_;
  AttentionPool pool_;  // Pooling::kAttention
  Linear projection_, head_, head_dist_;
};

std::map<std::string, Shape> vit_tensors(const ModelConfig& config);

/// x [channels, height, width] -> rows [patches, channels * patch_h * patch_w], as a convolution with stride = kernel
/// sees it. Shared with Swin.
void unfold_patches(const ExecContext& context, const float* image, int channels, int height, int width, int patch_h,
                    int patch_w, float* rows);

/// timm's resample_abs_pos_embed: [old_h * old_w, dim] -> [new_h * new_w, dim], bicubic with half-pixel centres, as
/// torch.nn.functional.interpolate: with `antialias` a = -0.5 and a support that grows with the reduction, borders left
/// out; without it a = -0.75, four neighbours, borders repeated.
AlignedBuffer<float> resample_positions(std::span<const float> positions, int dim, int old_h, int old_w, int new_h,
                                        int new_w, bool antialias = true);

}  // namespace igq
