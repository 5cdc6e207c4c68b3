#include "ops/attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "base/fail.h"
#include "quant/grouping.h"

namespace igq {
namespace {

using kernels::CodeRange;
using kernels::kBytePanel;
using kernels::kFloatPanel;

int round_up(int n, int to) { return (n + to - 1) / to * to; }

/// Quantizers of one operand of one head: one per row (token) or one per column (channel of the head).
struct OperandQuantizers {
  bool by_row = false;
  int q_max = 0;
  float *scale = nullptr, *inv_scale = nullptr, *zero = nullptr;  // [rows] or [cols], capacity max(rows, cols) padded
};

void set(OperandQuantizers& q, int i, const UniformQuantizer& u) {
  q.scale[i] = u.scale;
  q.inv_scale[i] = u.inv_scale;
  q.zero[i] = static_cast<float>(u.zero_point);
}

void set_fixed(OperandQuantizers& q, const std::vector<Bounds>& bounds, int head, int cols, int bits) {
  q.by_row = false;
  q.q_max = code_max(bits);
  const UniformQuantizer u = make_quantizer(bounds[bounds.size() == 1 ? 0 : static_cast<std::size_t>(head)], bits);
  for (int c = 0; c < cols; ++c) set(q, c, u);
}

/// One per row from the row's own range. Symmetric around the middle code for q: its zero-point must not differ
/// between rows, because the correction it needs is one row of the product.
void set_rows(OperandQuantizers& q, const float* mn, const float* mx, int rows, int bits, bool symmetric) {
  q.by_row = true;
  q.q_max = code_max(bits);
  const int middle = 1 << (bits - 1);
  for (int r = 0; r < rows; ++r) {
    if (!symmetric) {
      set(q, r, make_quantizer({mn[r], mx[r]}, bits));
      continue;
    }
    const float scale = std::max(-mn[r], mx[r]) / static_cast<float>(middle - 1);
    const float inv_scale = 1.0f / scale;
    const bool usable = scale > 0.0f && std::isfinite(inv_scale);
    set(q, r, {usable ? scale : 1.0f, usable ? inv_scale : 1.0f, middle, q.q_max});
  }
}

void quantize(const kernels::Kernels& k, const OperandQuantizers& q, const float* x, std::int64_t ld, int rows, int cols,
              std::uint8_t* codes, std::int64_t ldc) {
  (q.by_row ? k.quantize_rows : k.quantize_channels)(x, ld, rows, cols, q.inv_scale, q.zero, q.q_max, codes, ldc);
}

void fake_quantize(const kernels::Kernels& k, const OperandQuantizers& q, float* x, std::int64_t ld, int rows, int cols) {
  (q.by_row ? k.fake_quantize_rows : k.fake_quantize_channels)(x, ld, rows, cols, q.scale, q.inv_scale, q.zero, q.q_max);
}

/// code -> code - 2^(bits-1), in place, so that codes can be the signed operand of a byte product.
void make_signed(std::uint8_t* codes, std::int64_t count, int bits) {
  const auto offset = static_cast<std::uint8_t>(1 << (bits - 1));
  for (std::int64_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] - offset);
}

/// sums[r] = sum of the row's codes - cols * zero, exact.
void code_row_sums(const std::uint8_t* codes, std::int64_t ld, int rows, int cols, int zero, float* sums) {
  for (int r = 0; r < rows; ++r) {
    std::int32_t sum = 0;
    for (int c = 0; c < cols; ++c) sum += codes[r * ld + c];
    sums[r] = static_cast<float>(sum - cols * zero);
  }
}

}  // namespace

/// One window and head.
struct Attention::Task {
  const float *q, *k, *v;  // rows of n tokens, stride ld
  std::int64_t ld;
  int n, head;
  const float* bias;       // [n][n] or null
  float* out;              // [n][head_dim], stride ldo
  std::int64_t ldo;
};

/// Scratch of one thread.
struct Attention::Scratch {
  int n_padded = 0, d_padded = 0;             // multiples of kBytePanel
  float* panel = nullptr;                     // packed k or v
  float *scores = nullptr;                    // [n][n_padded]
  float *row_a = nullptr, *row_b = nullptr, *row_c = nullptr;  // [n_padded]
  float *copy_q = nullptr, *copy_k = nullptr, *copy_v = nullptr;  // [n][head_dim], simulation
  OperandQuantizers q, k, v;
  std::uint8_t *codes_q = nullptr, *codes_k = nullptr, *codes_v = nullptr, *codes_p = nullptr;
  std::int16_t* zero_slots = nullptr;
  std::int32_t* order = nullptr;              // identity over n tokens, -1 padded
  std::int32_t* corrections = nullptr;
  void* byte_panel = nullptr;
  float *col_scale = nullptr, *col_zero = nullptr;
};

Attention::Attention(std::string name, int heads, int head_dim)
    : name_(std::move(name)), heads_(heads), head_dim_(head_dim), scale_(1.0f / std::sqrt(static_cast<float>(head_dim))) {}

void Attention::set_plan(std::shared_ptr<const AttentionPlan> plan) {
  plan_ = std::move(plan);
  if (plan_ == nullptr) return;
  const QkvPlan& p = plan_->qkv;
  const bool fixed = p.grouping == QkvGrouping::kTensor || p.grouping == QkvGrouping::kHead;
  const auto expected = p.grouping == QkvGrouping::kHead ? static_cast<std::size_t>(heads_) : std::size_t{1};
  if (fixed && (p.q.size() != expected || p.k.size() != expected || p.v.size() != expected))
    fail("{}: the plan has bounds for {} heads, the layer has {}: was it made for another model?", name_, p.q.size(), heads_);
}

Attention::Scratch Attention::take_scratch(ExecContext& context, int n, Execution execution) const {
  Arena& arena = context.arena;
  Scratch s;
  s.n_padded = round_up(n, kBytePanel);
  s.d_padded = round_up(head_dim_, kBytePanel);
  const auto np = static_cast<std::size_t>(s.n_padded), dp = static_cast<std::size_t>(s.d_padded);
  const auto longest = std::max(np, dp);
  s.panel = arena.take<float>(np * dp);
  s.scores = arena.take<float>(static_cast<std::size_t>(n) * np);
  for (float** row : {&s.row_a, &s.row_b, &s.row_c}) *row = arena.take<float>(longest);
  if (execution == Execution::kFloat) return s;
  for (OperandQuantizers* q : {&s.q, &s.k, &s.v}) {
    q->scale = arena.take<float>(longest);
    q->inv_scale = arena.take<float>(longest);
    q->zero = arena.take<float>(longest);
  }
  if (execution == Execution::kSimulate) {
    for (float** copy : {&s.copy_q, &s.copy_k, &s.copy_v}) *copy = arena.take<float>(np * dp);
    return s;
  }
  for (std::uint8_t** codes : {&s.codes_q, &s.codes_k, &s.codes_v}) *codes = arena.take<std::uint8_t>(np * dp);
  s.codes_p = arena.take<std::uint8_t>(static_cast<std::size_t>(n) * np);
  s.zero_slots = arena.take<std::int16_t>(dp);
  s.order = arena.take<std::int32_t>(np);
  for (int i = 0; i < s.n_padded; ++i) s.order[i] = i < n ? i : -1;
  s.corrections = arena.take<std::int32_t>(kBytePanel);
  const CodeRange widest{255, 128};
  s.byte_panel = arena.take<std::byte>(context.kernels->panel_bytes(static_cast<int>(longest), widest));
  s.col_scale = arena.take<float>(longest);
  s.col_zero = arena.take<float>(longest);
  return s;
}

void Attention::forward(ExecContext& context, const float* qkv, int windows, int n, AttentionBias bias, float* out) const {
  const WorkTimer timer(context, Work::kAttention);
  const ArenaScope scope(context.arena);
  const Execution execution = plan_ == nullptr ? Execution::kFloat : context.execution_of(site_);
  // A partly quantized attention (only q, k, v or only softmax) runs as simulation: exact, but not on bytes.
  const bool complete = plan_ != nullptr && plan_->qkv.grouping != QkvGrouping::kFloat && plan_->softmax.grouping != Grouping::kFloat;
  const Execution actual = execution == Execution::kInteger && !complete ? Execution::kSimulate : execution;

  const int threads = context.observer != nullptr ? 1 : context.threads();
  auto* scratch = context.arena.take<Scratch>(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) scratch[t] = take_scratch(context, n, actual);

  const std::int64_t channels = static_cast<std::int64_t>(heads_) * head_dim_;
  auto run = [&](std::int64_t begin, std::int64_t end, int t) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t window = i / heads_, head = i % heads_;
      const float* rows = qkv + window * n * 3 * channels + head * head_dim_;
      Task task{rows, rows + channels, rows + 2 * channels, 3 * channels, n, static_cast<int>(head), nullptr,
                out + window * n * channels + head * head_dim_, channels};
      if (bias.table != nullptr) {
        const std::int64_t pattern = bias.pattern == nullptr ? 0 : bias.pattern[window];
        task.bias = bias.table + (pattern * heads_ + head) * n * n;
      }
      if (context.observer != nullptr) {
        const int part = static_cast<int>(head);
        context.observer->on_tensor(site_, Operand::kQ, part, task.q, task.ld, n, head_dim_);
        context.observer->on_tensor(site_, Operand::kK, part, task.k, task.ld, n, head_dim_);
        context.observer->on_tensor(site_, Operand::kV, part, task.v, task.ld, n, head_dim_);
      }
      if (actual == Execution::kInteger) head_integer(context, task, scratch[t]);
      else head_float(context, task, scratch[t], actual);
    }
  };
  if (threads == 1) run(0, static_cast<std::int64_t>(windows) * heads_, 0);
  else context.parallel_for(static_cast<std::int64_t>(windows) * heads_, 1, run);
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kOutput, 0, out, channels, windows * n, static_cast<int>(channels));
}

/// The quantizers of q, k and v of one head of one image.
static void make_qkv_quantizers(const kernels::Kernels& kernels, const QkvPlan& plan, const float* q, const float* k, const float* v,
                                std::int64_t ld, int n, int d, int head, float* mn, float* mx, OperandQuantizers& qq,
                                OperandQuantizers& qk, OperandQuantizers& qv) {
  if (plan.grouping != QkvGrouping::kRow) {
    set_fixed(qq, plan.q, head, d, plan.bits);
    set_fixed(qk, plan.k, head, d, plan.bits);
    set_fixed(qv, plan.v, head, d, plan.bits);
    return;
  }
  kernels.row_range(q, ld, n, d, mn, mx);
  set_rows(qq, mn, mx, n, plan.bits, true);
  kernels.row_range(k, ld, n, d, mn, mx);
  set_rows(qk, mn, mx, n, plan.bits, false);
  std::fill_n(mn, d, std::numeric_limits<float>::infinity());
  std::fill_n(mx, d, -std::numeric_limits<float>::infinity());
  kernels.channel_range(v, ld, n, d, mn, mx);
  qv.by_row = false;
  qv.q_max = code_max(plan.bits);
  for (int c = 0; c < d; ++c) set(qv, c, make_quantizer({mn[c], mx[c]}, plan.bits));
}

/// Softmax probabilities of task -> codes, or quantized and dequantized in place. row_a holds the row maxima.
void Attention::quantize_softmax(const ExecContext& context, const Task& task, Scratch& s, bool to_codes) const {
  const kernels::Kernels& kernels = *context.kernels;
  assign_rows(plan_->softmax, task.n, s.row_a, s.row_b, s.row_c);
  std::fill_n(s.row_a, task.n, 0.0f);  // zero-points
  const int q_max = code_max(plan_->softmax.bits);
  if (to_codes) kernels.quantize_rows(s.scores, s.n_padded, task.n, task.n, s.row_c, s.row_a, q_max, s.codes_p, s.n_padded);
  else kernels.fake_quantize_rows(s.scores, s.n_padded, task.n, task.n, s.row_b, s.row_c, s.row_a, q_max);
}

void Attention::head_float(const ExecContext& context, const Task& task, Scratch& s, Execution execution) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int n = task.n, d = head_dim_;
  const float *q = task.q, *k = task.k, *v = task.v;
  std::int64_t ld = task.ld;
  const bool simulate = execution == Execution::kSimulate;
  if (simulate && plan_->qkv.grouping != QkvGrouping::kFloat) {
    make_qkv_quantizers(kernels, plan_->qkv, q, k, v, ld, n, d, task.head, s.row_a, s.row_b, s.q, s.k, s.v);
    for (int t = 0; t < n; ++t) {
      std::copy_n(q + t * ld, d, s.copy_q + static_cast<std::int64_t>(t) * d);
      std::copy_n(k + t * ld, d, s.copy_k + static_cast<std::int64_t>(t) * d);
      std::copy_n(v + t * ld, d, s.copy_v + static_cast<std::int64_t>(t) * d);
    }
    fake_quantize(kernels, s.q, s.copy_q, d, n, d);
    fake_quantize(kernels, s.k, s.copy_k, d, n, d);
    fake_quantize(kernels, s.v, s.copy_v, d, n, d);
    q = s.copy_q, k = s.copy_k, v = s.copy_v;
    ld = d;
  }
  kernels.pack_f32(k, ld, true, d, n, s.panel);
  kernels.gemm_f32(q, ld, n, d, s.panel, 0, (n + kFloatPanel - 1) / kFloatPanel, n, nullptr, false, s.scores, s.n_padded);
  kernels.softmax_rows(s.scores, s.n_padded, n, n, scale_, task.bias, n, s.row_a);
  if (context.observer != nullptr) {
    const int part = task.head;
    context.observer->on_tensor(site_, Operand::kSoftmax, part, s.scores, s.n_padded, n, n);
  }
  if (simulate && plan_->softmax.grouping != Grouping::kFloat) quantize_softmax(context, task, s, false);
  kernels.pack_f32(v, ld, false, n, d, s.panel);
  kernels.gemm_f32(s.scores, s.n_padded, n, n, s.panel, 0, (d + kFloatPanel - 1) / kFloatPanel, d, nullptr, false, task.out, task.ldo);
}

void Attention::head_integer(const ExecContext& context, const Task& task, Scratch& s) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int n = task.n, d = head_dim_, bits = plan_->qkv.bits;
  const int slots_d = round_up(d, kernels::kGroupAlign), slots_n = round_up(n, kernels::kGroupAlign);
  const auto shift = static_cast<float>(1 << (bits - 1));
  make_qkv_quantizers(kernels, plan_->qkv, task.q, task.k, task.v, task.ld, n, d, task.head, s.row_a, s.row_b, s.q, s.k, s.v);
  if (slots_d != d) std::fill_n(s.codes_q, static_cast<std::int64_t>(n) * slots_d, std::uint8_t{0});
  quantize(kernels, s.q, task.q, task.ld, n, d, s.codes_q, slots_d);
  quantize(kernels, s.k, task.k, task.ld, n, d, s.codes_k, d);
  quantize(kernels, s.v, task.v, task.ld, n, d, s.codes_v, d);
  make_signed(s.codes_k, static_cast<std::int64_t>(n) * d, bits);
  make_signed(s.codes_v, static_cast<std::int64_t>(n) * d, bits);

  // scores = q k^T: the zero-point of q is a correction of the sums, that of k (per column) meets the row sums of q.
  const float one = 1.0f;
  const int zero_q = static_cast<int>(s.q.zero[0]);
  for (int i = 0; i < slots_d; ++i) s.zero_slots[i] = static_cast<std::int16_t>(i < d ? zero_q : 0);
  code_row_sums(s.codes_q, slots_d, n, d, zero_q, s.row_c);
  for (int j = 0; j < s.n_padded; ++j) {
    const int i = s.k.by_row ? j : 0;
    s.col_scale[j] = j < n ? s.k.scale[i] * (s.q.by_row ? 1.0f : s.q.scale[0]) : 0.0f;
    s.col_zero[j] = j < n ? s.k.zero[i] - shift : 0.0f;
  }
  kernels::ByteGemm gemm{};
  gemm.rows = n;
  gemm.panel = s.byte_panel;
  gemm.corrections = s.corrections;
  gemm.groups = 1;
  gemm.group_scale = &one;
  gemm.a = s.codes_q;
  gemm.lda = slots_d;
  gemm.group_end = &slots_d;
  gemm.row_scale = s.q.by_row ? s.q.scale : nullptr;
  gemm.row_sum = s.row_c;
  gemm.ldy = s.n_padded;
  gemm.range = {code_max(bits), 1 << (bits - 1)};
  for (int j = 0; j < n; j += kBytePanel) {
    gemm.cols = std::min(kBytePanel, n - j);
    kernels.pack_bytes_transposed(reinterpret_cast<const std::int8_t*>(s.codes_k) + static_cast<std::int64_t>(j) * d, d, d, slots_d,
                                  s.zero_slots, gemm.cols, gemm.range, s.byte_panel, s.corrections);
    gemm.col_zero = s.col_zero + j;
    gemm.col_scale = s.col_scale + j;
    gemm.y = s.scores + j;
    kernels.byte_gemm(gemm);
  }
  kernels.softmax_rows(s.scores, s.n_padded, n, n, scale_, task.bias, n, s.row_a);

  // out = softmax v: row scales of the softmax codes, column scales and zero-points of v.
  quantize_softmax(context, task, s, true);
  code_row_sums(s.codes_p, s.n_padded, n, n, 0, s.row_c);
  for (int c = 0; c < s.d_padded; ++c) {
    s.col_scale[c] = c < d ? s.v.scale[c] : 0.0f;
    s.col_zero[c] = c < d ? s.v.zero[c] - shift : 0.0f;
  }
  gemm.a = s.codes_p;
  gemm.lda = s.n_padded;
  gemm.group_end = &slots_n;
  gemm.row_scale = s.row_b;
  gemm.ldy = task.ldo;
  gemm.range = {code_max(plan_->softmax.bits), 1 << (bits - 1)};
  for (int c = 0; c < d; c += kBytePanel) {
    gemm.cols = std::min(kBytePanel, d - c);
    kernels.pack_bytes(reinterpret_cast<const std::int8_t*>(s.codes_v) + c, d, s.order, slots_n, nullptr, &slots_n, 1, gemm.cols,
                       gemm.range, s.byte_panel, s.corrections);
    gemm.col_zero = s.col_zero + c;
    gemm.col_scale = s.col_scale + c;
    gemm.y = task.out + c;
    kernels.byte_gemm(gemm);
  }
}

}  // namespace igq
