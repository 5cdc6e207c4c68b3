// Multi-head attention whose queries and keys come from different tokens, softmax(scale * q k^T) v per head: a
// quantization site (float execution so far). Vaswani et al. 2017, section 3.2.
#pragma once

#include <string>

#include "ops/context.h"

namespace igq {

class CrossAttention {
 public:
  CrossAttention() = default;
  CrossAttention(std::string name, int heads, int head_dim)
      : name_(std::move(name)), heads_(heads), head_dim_(head_dim) {}

  const std::string& name() const { return name_; }
  int heads() const { return heads_; }
  int head_dim() const { return head_dim_; }
  int site() const { return site_; }
  void set_site(int site) { site_ = site; }

  /// q [queries][heads * head_dim], k and v [keys][heads * head_dim] -> out [queries][heads * head_dim].
  void forward(ExecContext& context, const float* q, int queries, const float* k, const float* v, int keys,
               float* out) const;

 private:
  std::string name_;
  int heads_ = 0, head_dim_ = 0, site_ = -1;
};

}  // namespace igq
