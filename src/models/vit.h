// Vision Transformer: ViT, DeiT (distilled too), DeiT-III, DINOv2, CLIP-style pre-norm; timm's VisionTransformer.
#pragma once

#include "models/model.h"

namespace igq {

class Vit final : public Model {
 public:
  Vit(const ModelConfig& config, const ModelBuilder& builder);

  int steps() const override { return static_cast<int>(blocks_.size()) + 2; }
  void run_step(ExecContext& context, int step, StepState& state) const override;
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
  void embed(ExecContext& context, StepState& state) const;
  bool pools_patches() const { return config().vit.pooling == Pooling::kAverage || config().vit.concat_pool; }
  int wanted_tokens(const ExecContext& context, int step, const StepState& state) const;
  void run_block(ExecContext& context, const Block& block, int wanted, StepState& state) const;
  void head(ExecContext& context, StepState& state) const;

  int grid_height_ = 0, grid_width_ = 0, prefix_tokens_ = 0;
  Linear patch_embed_;
  AlignedBuffer<float> prefix_;     // [prefix tokens, dim], position embedding added where it applies
  AlignedBuffer<float> positions_;  // [patches, dim]
  LayerNorm norm_pre_, norm_, fc_norm_;
  std::vector<Block> blocks_;
  Linear head_, head_dist_;
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
