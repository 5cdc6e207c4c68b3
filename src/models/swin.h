// Swin Transformer v1: windowed attention with shifts, masks and relative position bias; timm's SwinTransformer, and
// the backbone of detectors (mmdetection's SwinTransformer) as a configuration of it.
#pragma once

#include "models/model.h"
#include "models/size_cache.h"
#include "models/window_layout.h"

namespace igq {

class Swin final : public Model {
 public:
  Swin(const ModelConfig& config, const ModelBuilder& builder);

  /// Without a head (SwinConfig::feature_maps) the last step is that of the last block.
  int steps() const override { return static_cast<int>(steps_.size()) + (config().swin.feature_maps ? 1 : 2); }
  void run_step(ExecContext& context, int step, StepState& state) const override;
  int output_tokens() const override;
  std::optional<BlockParts> block_parts(int step) override;

 private:
  /// What the blocks of a stage share: their windows, unshifted and shifted.
  struct Windows {
    WindowShape shape;
    WindowLayout configured;  ///< of the configured image size
    SizeCache<WindowLayout> others;
  };
  struct Block {
    LayerNorm norm1;
    Linear qkv;
    Attention attention;
    Linear proj;
    Mlp mlp;
    const Windows* windows = nullptr;
    AlignedBuffer<float> bias;  // window_bias()
  };
  struct Merge {
    LayerNorm norm;
    Linear reduction;
  };
  struct Step {  // one of the two
    std::unique_ptr<Block> block;
    std::unique_ptr<Merge> merge;
    int output = -1;  // the feature map that is taken after it
  };
  void embed(ExecContext& context, StepState& state) const;
  void run_block(ExecContext& context, const Block& block, StepState& state) const;
  void run_merge(ExecContext& context, const Merge& merge, StepState& state) const;
  void take_output(ExecContext& context, int output, StepState& state) const;
  void head(ExecContext& context, StepState& state) const;
  std::unique_ptr<Block> make_block(const ModelBuilder& builder, int stage, int index, const Windows& windows) const;
  const Windows& make_windows(int stage, bool shifted, int grid_h, int grid_w);

  int grid_height_ = 0, grid_width_ = 0;
  Linear patch_embed_;
  LayerNorm patch_norm_, norm_;
  std::vector<std::unique_ptr<Windows>> windows_;
  std::vector<Step> steps_;
  Linear head_;
  std::vector<LayerNorm> output_norms_;
};

std::map<std::string, Shape> swin_tensors(const ModelConfig& config);
/// Width between fc1 and fc2 of a stage `dim` channels wide.
int swin_mlp_hidden(const SwinConfig& config, int dim);
/// [height, width] of the windows of every stage; a map smaller than the configured window is one window, unless
/// windows are fixed.
std::vector<std::array<int, 2>> swin_windows(const ModelConfig& config);

}  // namespace igq
