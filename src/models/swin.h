// Swin Transformer v1: windowed attention with shifts, masks and relative position bias; timm's SwinTransformer.
#pragma once

#include "models/model.h"

namespace igq {

class Swin final : public Model {
 public:
  Swin(const ModelConfig& config, const ModelBuilder& builder);

  int steps() const override { return static_cast<int>(steps_.size()) + 2; }
  void run_step(ExecContext& context, int step, StepState& state) const override;
  std::optional<BlockParts> block_parts(int step) override;

 private:
  struct Block {
    LayerNorm norm1;
    Linear qkv;
    Attention attention;
    Linear proj;
    Mlp mlp;
    int window_h = 0, window_w = 0, windows = 0;
    std::vector<std::int32_t> token_of_row;  // [windows * window area] -> token, -1 for padding; roll included
    std::vector<std::int32_t> row_of_token;  // its inverse
    AlignedBuffer<float> bias;               // [patterns][heads][area][area], relative position bias + mask
    std::vector<std::int32_t> pattern;       // [windows]
  };
  struct Merge {
    LayerNorm norm;
    Linear reduction;
  };
  struct Step {  // one of the two
    std::unique_ptr<Block> block;
    std::unique_ptr<Merge> merge;
  };
  void embed(ExecContext& context, StepState& state) const;
  void run_block(ExecContext& context, const Block& block, StepState& state) const;
  void run_merge(ExecContext& context, const Merge& merge, StepState& state) const;
  void head(ExecContext& context, StepState& state) const;
  std::unique_ptr<Block> make_block(const ModelBuilder& builder, int stage, int index, int grid_h, int grid_w) const;

  int grid_height_ = 0, grid_width_ = 0;
  Linear patch_embed_;
  LayerNorm patch_norm_, norm_;
  std::vector<Step> steps_;
  Linear head_;
};

std::map<std::string, Shape> swin_tensors(const ModelConfig& config);
/// Width between fc1 and fc2 of a stage `dim` channels wide.
int swin_mlp_hidden(const SwinConfig& config, int dim);
/// [height, width] of the windows of every stage; a map smaller than the configured window is one window.
std::vector<std::array<int, 2>> swin_windows(const ModelConfig& config);

}  // namespace igq
