// Multi-head attention: softmax(scale * q k^T + bias) v, per window and head; self-attention between the qkv and the
// proj layer, and that of queries and keys of different tokens (Vaswani et al. 2017, section 3.2).
// A quantization site: q, k, v (QkvPlan) and the softmax rows (docs/method.md, section 4). The row scale of softmax
// codes belongs to the output row and the scales of k and v to output columns, so every grouping is one group of the
// product.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "ops/linear.h"
#include "ops/rotary.h"
#include "quant/plan.h"

namespace igq {

/// Added to the scaled scores of window w and head h: table[(pattern[w] * heads + h) * n * n ...]. Swin's relative
/// position bias plus shift mask; none when table is null; pattern 0 for all windows when pattern is null. `rotation`:
/// q and k turn before they are multiplied; null: they do not.
struct AttentionBias {
  const float* table = nullptr;
  const std::int32_t* pattern = nullptr;
  const Rotation* rotation = nullptr;
};

class Attention {
 public:
  Attention() = default;
  Attention(std::string name, int heads, int head_dim);

  const std::string& name() const { return name_; }
  int heads() const { return heads_; }
  int head_dim() const { return head_dim_; }
  int site() const { return site_; }
  void set_site(int site) { site_ = site; }
  void set_plan(std::shared_ptr<const AttentionPlan> plan);
  const AttentionPlan* plan() const { return plan_.get(); }

  /// qkv [windows * n][3 * heads * head_dim] as the qkv layer writes it, turned already where it has to; out [windows *
  /// n][heads * head_dim].
  void forward(ExecContext& context, const float* qkv, int windows, int n, AttentionBias bias, float* out) const;
  /// Keys and values of `count` tokens, [count][heads * head_dim] in rows `stride` apart.
  struct Keys {
    const float *k, *v;
    std::int64_t stride;
    int count;
  };
  /// Queries and keys of different tokens: q [queries][heads * head_dim] -> out [queries][heads * head_dim].
  void forward(ExecContext& context, const float* q, int queries, const Keys& keys, float* out) const;
  /// proj(attention(qkv(x))) from x [windows * n][qkv.in] with its range. In integers q, k and v of a few heads at a
  /// time go from the qkv layer's panels into the attention, and its outputs as codes into the proj layer, where
  /// head_dim divides a panel. into.y may be x.
  void forward(ExecContext& context, const Linear& qkv, const Linear& proj, const float* x, ChannelRange range,
               int windows, int n, AttentionBias bias, Linear::Into into) const;

 private:
  struct Scratch;
  struct Task;
  bool is_complete() const;
  Execution actual_execution(const ExecContext& context) const;
  Scratch* take_scratches(ExecContext& context, int threads, std::array<int, 2> tokens, Execution execution) const;
  void attend_head(const ExecContext& context, const Task& task, Scratch& s, Execution execution) const;
  void make_quantizers(const kernels::Kernels& kernels, const Task& task, Scratch& s) const;
  void rotate(ExecContext& context, const Rotation& rotation, float* qkv, int windows, int n) const;
  const float* bias_of(AttentionBias bias, std::int64_t window, int head, int n) const;
  Scratch take_scratch(ExecContext& context, std::array<int, 2> tokens, Execution execution) const;
  void head_float(const ExecContext& context, const Task& task, Scratch& s, Execution execution) const;
  void head_simulated(const ExecContext& context, const Task& task, Scratch& s) const;
  void head_integer(const ExecContext& context, const Task& task, Scratch& s) const;
  void pack_codes(const ExecContext& context, const Task& task, Scratch& s) const;

  std::string name_;
  int heads_ = 0, head_dim_ = 0, site_ = -1;
  float scale_ = 1.0f;
  std::shared_ptr<const AttentionPlan> plan_;
};

}  // namespace igq
