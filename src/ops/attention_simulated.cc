// Simulation of attention: the codes and the sums of integer execution, added up as integers held in floats
// (exact_product.h), and the same chain of roundings after them. So simulation and integers have the same bits, though
// nothing here knows of bytes, panels and slots.
#include <algorithm>

#include "ops/attention_parts.h"
#include "ops/exact_product.h"
#include "quant/grouping.h"

namespace igq {
namespace {

constexpr int kRows = 16;  // of scores that are worked on together

/// to [rows][cols] = codes less `offset`.
void integers(const kernels::Kernels& kernels, const OperandQuantizers& q, const float* x, std::int64_t ld, int rows,
              int cols, int offset, std::uint8_t* codes, float* to) {
  quantize(kernels, q, x, ld, rows, cols, codes, cols);
  for (std::int64_t i = 0; i < std::int64_t{rows} * cols; ++i) to[i] = static_cast<float>(codes[i] - offset);
}

}  // namespace

void Attention::head_simulated(const ExecContext& context, const Task& task, Scratch& s) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int queries = task.queries, n = task.n, d = head_dim_, middle = 1 << (plan_->qkv.bits - 1),
            qkv_max = code_max(plan_->qkv.bits), softmax_max = code_max(plan_->softmax.bits);
  make_quantizers(kernels, task, s);
  const int zero_q = static_cast<int>(s.q.zero[0]);
  integers(kernels, s.q, task.q, task.ld_q, queries, d, zero_q, s.codes_q, s.copy_q);
  integers(kernels, s.k, s.from_k, s.ld_k, n, d, middle, s.codes_q, s.copy_k);
  integers(kernels, s.v, s.from_v, s.ld_v, n, d, middle, s.codes_q, s.copy_v);

  float *column_scale = s.column_scale, *column_zero = s.column_zero;
  for (int j = 0; j < n; ++j) {
    const int i = s.k.by_row ? j : 0;
    column_scale[j] = s.k.scale[i] * (s.q.by_row ? 1.0f : s.q.scale[0]);
    column_zero[j] = s.k.zero[i] - static_cast<float>(middle);
  }
  for (std::int64_t t = 0; t < queries; ++t) {
    s.row_c[t] = 0.0f;
    for (int c = 0; c < d; ++c) s.row_c[t] += s.copy_q[t * d + c];  // integers below 2^24
  }
  const ExactOperand keys{s.panel, d, n, exact_depth(std::max(zero_q, qkv_max - zero_q), d)};
  keys.pack(kernels, s.copy_k, d, true);
  const auto make_scores = [&] {
    for (int t = 0; t < queries; t += kRows) {
      const int rows = std::min(kRows, queries - t);
      exact_product(kernels, s.copy_q + std::int64_t{t} * d, d, rows, keys, s.sums, s.block, s.n_padded);
      const ExactOutputs outputs{s.row_c + t, s.q.by_row ? s.q.scale + t : nullptr, column_zero, column_scale, nullptr};
      finish_exact(kernels, outputs, s.block, s.n_padded, rows, n, s.small_panel,
                   s.scores + std::int64_t{t} * s.scores_stride, s.scores_stride);
    }
  };
  make_scores();
  if (context.observer != nullptr) {
    kernels.softmax_rows({s.scores, s.scores_stride, queries, n}, {scale_, task.bias, n}, s.row_a);
    context.observer->on_tensor(site_, Operand::kSoftmax, task.head, s.scores, s.scores_stride, queries, n);
    make_scores();
  }

  for (int c = 0; c < d; ++c) column_zero[c] = s.v.zero[c] - static_cast<float>(middle);
  const ExactOperand values{s.panel, n, d, exact_depth(softmax_max, n)};
  values.pack(kernels, s.copy_v, d, false);
  for (int t = 0; t < queries; t += kRows) {
    const int rows = std::min(kRows, queries - t);
    float *scores = s.scores + std::int64_t{t} * s.scores_stride, *inverse = s.row_a, *scale = s.row_b,
          *inv_scale = s.row_a + kRows, *code_sums = s.row_c;
    const float* bias = task.bias == nullptr ? nullptr : task.bias + static_cast<std::int64_t>(t) * n;
    if (plan_->softmax.grouping == Grouping::kUpperBound) {
      kernels.softmax_row_codes({scores, s.scores_stride, rows, n}, {scale_, bias, n}, softmax_max, s.codes_p, n, scale,
                                code_sums);
    } else {
      kernels.softmax_exp({scores, s.scores_stride, rows, n}, {scale_, bias, n}, inverse);
      assign_rows(plan_->softmax, t, t + rows, queries, inverse, scale, inv_scale);
      kernels.softmax_codes({scores, s.scores_stride, rows, n}, inverse, inv_scale, softmax_max, s.codes_p, n,
                            code_sums);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      for (int j = 0; j < n; ++j) scores[r * s.scores_stride + j] = static_cast<float>(s.codes_p[r * n + j]);
    exact_product(kernels, scores, s.scores_stride, rows, values, s.sums, s.block, s.n_padded);
    const ExactOutputs outputs{code_sums, scale, column_zero, s.v.scale, plan_->qkv.centred ? s.mean_v : nullptr};
    finish_exact(kernels, outputs, s.block, s.n_padded, rows, d, s.small_panel, task.out + t * task.ldo, task.ldo);
  }
}

}  // namespace igq
