// Gradients of a transformer block with respect to the parameters that reconstruct.h tunes: affine parameters of its
// layer norms, and of its linear layers the bias and a gain per output channel (y = gain * x W_hat^T + bias). Weights
// have none.
//
// The forward pass is the model's own: a BlockTape watches it, whatever its execution. The backward pass is that of the
// float block at the activations so observed, with the weights as they are coded: every activation quantizer is passed
// straight through (Bengio et al., 2013), and q, k, v and the attention map stand for what quantizers made of them.
#pragma once

#include <array>

#include "models/model.h"

namespace igq {

/// The tensors of one block and one image that gradients need.
class BlockTape final : public SiteObserver {
 public:
  explicit BlockTape(const BlockParts& block) : block_(block) {}
  /// Before the pass: the block's input [tokens][channels].
  void begin(std::span<const float> x, int tokens);
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override;

  int tokens = 0, rows = 0;  ///< rows of the attention: tokens and padding
  AlignedBuffer<float> x;
  AlignedBuffer<float> qkv, proj, fc1, fc2;  ///< outputs of the linear layers, [rows or tokens][out]
  AlignedBuffer<float> softmax;              ///< [windows][heads][n][n]
  std::size_t bytes() const;

 private:
  const BlockParts& block_;
  std::size_t softmax_used_ = 0;
};

/// The tuned parameters of a block, one after the other in one vector.
enum class BlockPart {
  kGamma1,
  kBeta1,
  kGamma2,
  kBeta2,
  kQkvBias,
  kQkvGain,
  kProjBias,
  kProjGain,
  kFc1Bias,
  kFc1Gain,
  kFc2Bias,
  kFc2Gain
};
inline constexpr int kBlockParts = 12;

class BlockGradients {
 public:
  /// Packs the weights of the block (coded ones where its layers have a plan); they must not change as long as this
  /// lives. `block` must outlive it.
  BlockGradients(const BlockParts& block, const kernels::Kernels& kernels);

  std::size_t size() const { return offset_[kBlockParts]; }
  /// Where a part lies in the vector; biases of layers without one are empty.
  std::size_t begin(BlockPart part) const { return offset_[static_cast<std::size_t>(part)]; }
  std::size_t end(BlockPart part) const { return offset_[static_cast<std::size_t>(part) + 1]; }

  /// gradient [size()] += d loss / d parameters, where dy [tokens][channels] = d loss / d output of the block; of gains
  /// d loss / d log gain. `gain`: what the weights were multiplied by, per output channel, since this was made, in the
  /// vector's places of gains (others are not read). Thread safe with one arena per thread; all sums in a fixed order.
  void backward(const BlockTape& tape, const float* dy, std::span<const float> gain, Arena& arena,
                float* gradient) const;
  std::size_t bytes() const;

 private:
  struct Layer {
    const Linear* linear;
    AlignedBuffer<float> packed;  // weight as the right operand of dy W
    BlockPart bias, gain;
  };
  Layer make_layer(const Linear& linear, BlockPart bias, BlockPart gain) const;
  void linear_backward(const Layer& layer, const float* y, float* dy, int rows, std::span<const float> gain, float* dx,
                       float* gradient) const;
  void mlp_backward(const BlockTape& tape, float* dy, std::span<const float> gain, float* dx, Arena& arena,
                    float* gradient) const;
  void attention_backward(const BlockTape& tape, const float* dy, float* dqkv, Arena& arena) const;
  void activation_backward(const float* x, int rows, int cols, float* dy, Arena& arena) const;
  void swiglu_backward(const float* x, int rows, const float* dy, float* dx, Arena& arena) const;

  const BlockParts& block_;
  const kernels::Kernels& kernels_;
  std::array<std::size_t, kBlockParts + 1> offset_{};
  Layer qkv_, proj_, fc1_, fc2_;
};

}  // namespace igq
