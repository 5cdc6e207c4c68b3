// Building blocks that ViT and Swin share, and the builder that reads them from a TensorSource by timm's names.
#pragma once

#include <memory>
#include <string>

#include "io/tensor_source.h"
#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

namespace igq {

struct LayerNorm {
  AlignedBuffer<float> gamma, beta;
  float eps = 1e-6f;
  int channels() const { return static_cast<int>(gamma.size()); }
};

void layer_norm(ExecContext& context, const LayerNorm& norm, const float* x, int rows, float* y,
                ChannelRange range = {}, const std::int32_t* y_rows = nullptr);

/// The second half of a transformer block: x += gamma * fc2(f(fc1(norm(x)))).
struct Mlp {
  LayerNorm norm;
  Linear fc1, fc2;
  LayerNorm inner;             ///< before fc2 of a gated MLP (EVA-02), empty without
  AlignedBuffer<float> gamma;  ///< LayerScale, empty without
  kernels::Activation activation = kernels::Activation::kGelu;
  bool swiglu = false;  ///< fc1 gives [gate, value]; silu(gate) * value goes to fc2
  /// The first `wanted` of its `rows` rows are needed afterwards; channel ranges are those of all rows nevertheless.
  void add_to(ExecContext& context, float* x, int rows, int wanted) const;
  void add_to(ExecContext& context, float* x, int rows) const { add_to(context, x, rows, rows); }
};

/// Reads a model's layers. Shapes are checked; what is missing is named in an Error.
class ModelBuilder {
 public:
  /// plan may be null; it supplies linear layers whose weights are not among the tensors.
  /// `prefix` precedes the names of tensors and sites ("backbone.").
  ModelBuilder(const TensorSource& tensors, std::shared_ptr<const QuantizationPlan> plan, std::string prefix = {})
      : tensors_(tensors), plan_(std::move(plan)), prefix_(std::move(prefix)) {}

  /// The builder of a part whose names start with `prefix`.
  ModelBuilder part(const std::string& prefix) const { return {tensors_, plan_, prefix_ + prefix}; }
  bool has(const std::string& name) const { return tensors_.has(prefix_ + name); }
  /// The shape of a tensor that is there.
  const Shape& shape(const std::string& name) const;
  /// A tensor of `count` values, any shape.
  AlignedBuffer<float> tensor(const std::string& name, std::int64_t count) const;
  AlignedBuffer<float> optional_tensor(const std::string& name, std::int64_t count) const;
  LayerNorm norm(const std::string& name, int channels, float eps) const;
  Linear linear(const std::string& name, int in, int out, bool bias) const;
  /// The plan of a layer whose weights exist as codes only, null where the tensors hold them. Error when the codes are
  /// not in x out.
  std::shared_ptr<const LinearPlan> codes(const std::string& name, std::int64_t in, std::int64_t out) const;
  Conv2d conv(const std::string& name, ConvShape shape, bool bias) const;
  /// A convolution without bias and the batch norm after it (running statistics, eps 1e-5) as one: w * s, b - mean * s
  /// with s = gamma / sqrt(variance + eps). Codes are those of w * s, with the bias stored as "name.bias".
  Conv2d conv_with_norm(const std::string& name, const std::string& norm, ConvShape shape) const;
  Attention attention(const std::string& name, int heads, int head_dim) const {
    return Attention(prefix_ + name, heads, head_dim);
  }
  std::string origin() const { return tensors_.origin(); }
  const std::string& prefix() const { return prefix_; }

 private:
  const TensorSource& tensors_;
  std::shared_ptr<const QuantizationPlan> plan_;
  std::string prefix_;
};

/// The name of the activation-quantization site of a layer, "blocks.0.attn.qkv:input".
std::string input_site(const Linear& linear);

}  // namespace igq
