// Pooling by attention (SigLIP; timm.layers.AttentionPoolLatent with one learned token): the token's query attends to
// the patches, and an MLP follows: y = proj(attention(q, k, v)), y += mlp(norm(y)). The query does not depend on the
// image.
#pragma once

#include "models/model.h"

namespace igq {

class AttentionPool {
 public:
  AttentionPool() = default;
  /// Reads tensors "attn_pool.*" of a network with Pooling::kAttention.
  AttentionPool(const VitConfig& config, const ModelBuilder& builder);

  /// x [patches, dim], normalised -> pooled [dim].
  void forward(ExecContext& context, const float* x, int patches, float* pooled) const;

  // Quantization sites, in their order.
  Linear& kv() { return kv_; }  ///< of all patches; the layers behind the attention see one row
  Attention& attention() { return attention_; }
  std::array<Linear*, 3> behind() { return {&proj_, &mlp_.fc1, &mlp_.fc2}; }

 private:
  AlignedBuffer<float> query_;  // [dim], the query layer's output of the learned token
  Linear kv_;
  Attention attention_;
  Linear proj_;
  Mlp mlp_;
};

/// Adds the tensors that the pooling reads.
void add_pool_tensors(const VitConfig& config, std::map<std::string, Shape>& tensors);

}  // namespace igq
