#include "ops/cross_attention.h"

#include <algorithm>
#include <cmath>

namespace igq {

void CrossAttention::forward(ExecContext& context, const float* q, int queries, const float* k, const float* v,
                             int keys, float* out) const {
  constexpr int kRows = 64;  // queries whose scores are held at a time
  const WorkTimer timer(context, Work::kAttention);
  const int dim = heads_ * head_dim_;
  if (context.observer != nullptr) {
    context.observer->on_tensor(site_, Operand::kQ, 0, q, dim, queries, dim);
    context.observer->on_tensor(site_, Operand::kK, 0, k, dim, keys, dim);
    context.observer->on_tensor(site_, Operand::kV, 0, v, dim, keys, dim);
  }
  const ArenaScope scope(context.arena);
  const auto panels = [](int n) { return (n + kernels::kFloatPanel - 1) / kernels::kFloatPanel; };
  const auto packed_k =
      static_cast<std::size_t>(panels(keys)) * kernels::kFloatPanel * static_cast<std::size_t>(head_dim_);
  const auto packed_v =
      static_cast<std::size_t>(panels(head_dim_)) * kernels::kFloatPanel * static_cast<std::size_t>(keys);
  const auto scores = static_cast<std::size_t>(kRows) * static_cast<std::size_t>(keys),
             held = packed_k + packed_v + scores;
  float* scratch = context.arena.take<float>(held * static_cast<std::size_t>(context.threads()));
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  const kernels::Kernels& kernels = *context.kernels;
  context.parallel_for(heads_, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* k_panels = scratch + held * static_cast<std::size_t>(thread);
    float* v_panels = k_panels + packed_k;
    float* rows = v_panels + packed_v;
    for (std::int64_t head = begin; head < end; ++head) {
      const std::int64_t at = head * head_dim_;
      kernels.pack_f32(k + at, dim, true, head_dim_, keys, k_panels);
      kernels.pack_f32(v + at, dim, false, keys, head_dim_, v_panels);
      for (int first = 0; first < queries; first += kRows) {
        const int count = std::min(kRows, queries - first);
        kernels.gemm_f32({.x = q + std::int64_t{first} * dim + at,
                          .ldx = dim,
                          .rows = count,
                          .k = head_dim_,
                          .packed = k_panels,
                          .panel_begin = 0,
                          .panel_end = panels(keys),
                          .n = keys,
                          .bias = nullptr,
                          .accumulate = false,
                          .y = rows,
                          .ldy = keys});
        kernels.softmax_rows({rows, keys, count, keys}, {scale, nullptr, 0}, nullptr);
        kernels.gemm_f32({.x = rows,
                          .ldx = keys,
                          .rows = count,
                          .k = keys,
                          .packed = v_panels,
                          .panel_begin = 0,
                          .panel_end = panels(head_dim_),
                          .n = head_dim_,
                          .bias = nullptr,
                          .accumulate = false,
                          .y = out + std::int64_t{first} * dim + at,
                          .ldy = dim});
      }
    }
  });
  if (context.observer != nullptr) context.observer->on_tensor(site_, Operand::kOutput, 0, out, dim, queries, dim);
}

}  // namespace igq
