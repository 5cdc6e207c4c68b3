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
void set_rows(const kernels::Kernels& kernels, OperandQuantizers& q, const float* mn, const float* mx, int rows,
              int bits, bool symmetric) {
  q.by_row = true;
  q.q_max = code_max(bits);
  if (!symmetric) return kernels.range_quantizers(mn, mx, rows, q.q_max, q.scale, q.inv_scale, q.zero);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto middle = static_cast<float>(1 << (bits - 1));
  for (int r = 0; r < rows; ++r) {  // no branches: vectors
    const float largest = -mn[r] > mx[r] ? -mn[r] : mx[r], scale = largest / (middle - 1.0f), inv_scale = 1.0f / scale;
    const bool usable = (scale > 0.0f) & (inv_scale < kInfinity);
    q.scale[r] = usable ? scale : 1.0f;
    q.inv_scale[r] = usable ? inv_scale : 1.0f;
    q.zero[r] = middle;
  }
}

void quantize(const kernels::Kernels& k, const OperandQuantizers& q, const float* x, std::int64_t ld, int rows,
              int cols, std::uint8_t* codes, std::int64_t ldc) {
  (q.by_row ? k.quantize_rows : k.quantize_channels)(x, ld, rows, cols, q.inv_scale, q.zero, q.q_max, codes, ldc);
}

void fake_quantize(const kernels::Kernels& k, const OperandQuantizers& q, float* x, std::int64_t ld, int rows,
                   int cols) {
  (q.by_row ? k.fake_quantize_rows : k.fake_quantize_channels)(x, ld, rows, cols, q.scale, q.inv_scale, q.zero,
                                                               q.q_max);
}

/// k or v as byte panels, with the scales of their columns and the zero-points that meet the row sums.
struct BytePanels {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;                           // bytes from a panel to the next
  std::int32_t* corrections = nullptr;              // [panels][kBytePanel]
  float *col_scale = nullptr, *col_zero = nullptr;  // [panels * kBytePanel]

  void take(ExecContext& context, int slots, int cols) {
    const auto panels = static_cast<std::size_t>(round_up(cols, kBytePanel) / kBytePanel);
    stride = (context.kernels->panel_bytes(slots, 1, CodeRange{255, 128}) + 63) / 64 * 64;
    data = context.arena.take<std::uint8_t>(panels * stride);
    corrections = context.arena.take<std::int32_t>(panels * kBytePanel);
    col_scale = context.arena.take<float>(panels * kBytePanel);
    col_zero = context.arena.take<float>(panels * kBytePanel);
  }
  void* panel(int col) const { return data + stride * static_cast<std::size_t>(col / kBytePanel); }
  /// Points a product at the panel of columns [col, col + 64) of `cols`.
  void select(kernels::ByteGemm& gemm, int col, int cols) const {
    gemm.panel = panel(col);
    gemm.corrections = corrections + col;
    gemm.col_scale = col_scale + col;
    gemm.col_zero = col_zero + col;
    gemm.cols = std::min(kBytePanel, cols - col);
  }
};

}  // namespace

/// Rows that go from scores to outputs together when `left` are left: kernels.row_block, and up to a quarter more
/// rather than few rows by themselves, which would cost nearly as much as many.
static int block_rows(const kernels::Kernels& kernels, int left) {
  return 4 * left <= 5 * kernels.row_block ? left : kernels.row_block;
}
static int most_block_rows(const kernels::Kernels& kernels, int n) { return std::min(n, 5 * kernels.row_block / 4); }

/// One window and head.
struct Attention::Task {
  const float *q, *k, *v;  // rows of n tokens, stride ld
  std::int64_t ld;
  int n, head;
  const float* bias;  // [n][n] or null
  float* out;         // [n][head_dim], stride ldo
  std::int64_t ldo;
};

/// Scratch of one thread.
struct Attention::Scratch {
  int n_padded = 0, d_padded = 0;  // multiples of kBytePanel
  int scores_stride = 0;
  float* panel = nullptr;                                         // packed k or v
  float* scores = nullptr;                                        // [n] (integers: [row_block]) [scores_stride]
  float *row_a = nullptr, *row_b = nullptr, *row_c = nullptr;     // [n_padded]
  float *copy_q = nullptr, *copy_k = nullptr, *copy_v = nullptr;  // [n][head_dim], simulation
  OperandQuantizers q, k, v;
  std::uint8_t *codes_q = nullptr, *codes_k = nullptr, *codes_v = nullptr;
  std::uint8_t* codes_p = nullptr;  // [row_block][n_padded]
  std::int16_t* zero_slots = nullptr;
  std::int32_t* order = nullptr;  // identity over n tokens, -1 padded
  BytePanels k_panels, v_panels;
};

Attention::Attention(std::string name, int heads, int head_dim)
    : name_(std::move(name)),
      heads_(heads),
      head_dim_(head_dim),
      scale_(1.0f / std::sqrt(static_cast<float>(head_dim))) {}

void Attention::set_plan(std::shared_ptr<const AttentionPlan> plan) {
  plan_ = std::move(plan);
  if (plan_ == nullptr) return;
  const QkvPlan& p = plan_->qkv;
  const bool fixed = p.grouping == QkvGrouping::kTensor || p.grouping == QkvGrouping::kHead;
  const auto expected = p.grouping == QkvGrouping::kHead ? static_cast<std::size_t>(heads_) : std::size_t{1};
  if (fixed && (p.q.size() != expected || p.k.size() != expected || p.v.size() != expected))
    fail("{}: the plan has bounds for {} heads, the layer has {}: was it made for another model?", name_, p.q.size(),
         heads_);
}

Attention::Scratch Attention::take_scratch(ExecContext& context, int n, Execution execution) const {
  Arena& arena = context.arena;
  Scratch s;
  s.n_padded = round_up(n, kBytePanel);
  s.d_padded = round_up(head_dim_, kBytePanel);
  const auto np = static_cast<std::size_t>(s.n_padded), dp = static_cast<std::size_t>(s.d_padded);
  const auto longest = std::max(np, dp);
  s.scores_stride = round_up(n, kFloatPanel);
  const auto score_rows =
      static_cast<std::size_t>(execution == Execution::kInteger ? most_block_rows(*context.kernels, n) : n);
  s.scores = arena.take<float>(score_rows * static_cast<std::size_t>(s.scores_stride));
  for (float** row : {&s.row_a, &s.row_b, &s.row_c}) *row = arena.take<float>(longest);
  if (execution != Execution::kInteger) s.panel = arena.take<float>(np * dp);
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
  s.codes_p = arena.take<std::uint8_t>(score_rows * np);
  s.zero_slots = arena.take<std::int16_t>(dp);
  s.order = arena.take<std::int32_t>(np);
  for (int i = 0; i < s.n_padded; ++i) s.order[i] = i < n ? i : -1;
  s.k_panels.take(context, round_up(head_dim_, kernels::kGroupAlign), n);
  s.v_panels.take(context, round_up(n, kernels::kGroupAlign), head_dim_);
  return s;
}

/// A partly quantized attention (only q, k, v or only softmax) runs as simulation: exact, but not on bytes.
Execution Attention::actual_execution(const ExecContext& context) const {
  if (plan_ == nullptr) return Execution::kFloat;
  const Execution execution = context.execution_of(site_);
  const bool complete = plan_->qkv.grouping != QkvGrouping::kFloat && plan_->softmax.grouping != Grouping::kFloat;
  return execution == Execution::kInteger && !complete ? Execution::kSimulate : execution;
}

Attention::Scratch* Attention::take_scratches(ExecContext& context, int threads, int n, Execution execution) const {
  auto* scratch = context.arena.take<Scratch>(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) scratch[t] = take_scratch(context, n, execution);
  return scratch;
}

const float* Attention::bias_of(AttentionBias bias, std::int64_t window, int head, int n) const {
  if (bias.table == nullptr) return nullptr;
  const std::int64_t pattern = bias.pattern == nullptr ? 0 : bias.pattern[window];
  return bias.table + (pattern * heads_ + head) * n * n;
}

void Attention::forward(ExecContext& context, const float* qkv, int windows, int n, AttentionBias bias,
                        float* out) const {
  const WorkTimer timer(context, Work::kAttention);
  const ArenaScope scope(context.arena);
  const Execution actual = actual_execution(context);
  const int threads = context.observer != nullptr ? 1 : context.threads();
  Scratch* scratch = take_scratches(context, threads, n, actual);

  const std::int64_t channels = static_cast<std::int64_t>(heads_) * head_dim_;
  auto run = [&](std::int64_t begin, std::int64_t end, int t) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t window = i / heads_, head = i % heads_;
      const float* rows = qkv + window * n * 3 * channels + head * head_dim_;
      const int part = static_cast<int>(head);
      const Task task{rows,
                      rows + channels,
                      rows + 2 * channels,
                      3 * channels,
                      n,
                      part,
                      bias_of(bias, window, part, n),
                      out + window * n * channels + head * head_dim_,
                      channels};
      if (context.observer != nullptr) {
        context.observer->on_tensor(site_, Operand::kQ, part, task.q, task.ld, n, head_dim_);
        context.observer->on_tensor(site_, Operand::kK, part, task.k, task.ld, n, head_dim_);
        context.observer->on_tensor(site_, Operand::kV, part, task.v, task.ld, n, head_dim_);
      }
      if (actual == Execution::kInteger)
        head_integer(context, task, scratch[t]);
      else
        head_float(context, task, scratch[t], actual);
    }
  };
  if (threads == 1)
    run(0, static_cast<std::int64_t>(windows) * heads_, 0);
  else
    context.parallel_for(static_cast<std::int64_t>(windows) * heads_, 1, run);
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kOutput, 0, out, channels, windows * n, static_cast<int>(channels));
}

void Attention::forward(ExecContext& context, const Linear& qkv, const Linear& proj, const float* x, ChannelRange range,
                        int windows, int n, AttentionBias bias, Linear::Into into) const {
  const int rows = windows * n, channels = heads_ * head_dim_, units = channels / kBytePanel,
            threads = context.threads();
  // A unit is a panel each of q, k and v. Few units that do not share out evenly would leave threads waiting.
  const bool by_units = actual_execution(context) == Execution::kInteger && qkv.runs_integer(context) &&
                        proj.runs_integer(context) && context.observer == nullptr && kBytePanel % head_dim_ == 0 &&
                        channels % kBytePanel == 0 && (units % threads == 0 || units >= 4 * threads);
  const ArenaScope scope(context.arena);
  if (!by_units) {
    float* all = context.arena.take<float>(static_cast<std::size_t>(rows) * 3 * static_cast<std::size_t>(channels));
    float* mixed = context.arena.take<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(channels));
    qkv.forward(context, x, rows, all, range);
    forward(context, all, windows, n, bias, mixed);
    if (into.add)
      proj.forward_residual(context, mixed, rows, into.gamma, into.y);
    else
      proj.forward(context, mixed, rows, into.y);
    return;
  }
  Scratch* scratch = take_scratches(context, threads, n, Execution::kInteger);
  const std::int64_t panel = std::int64_t{rows} * kBytePanel;
  float* mixed = context.arena.take<float>(static_cast<std::size_t>(panel * threads));
  const int heads_of_unit = kBytePanel / head_dim_;
  const auto attend = [&](int unit, int, int thread, const float* outputs, float* mn, float* mx) {
    const WorkTimer timer(context, Work::kAttention, thread);
    float* out = mixed + panel * thread;
    for (int i = 0; i < heads_of_unit; ++i) {
      const int head = unit * heads_of_unit + i, column = i * head_dim_;
      for (std::int64_t window = 0; window < windows; ++window) {
        const std::int64_t first = window * n * kBytePanel + column;
        const float* q = outputs + first;
        const Task task{q,           q + panel, q + 2 * panel, kBytePanel, n, head, bias_of(bias, window, head, n),
                        out + first, kBytePanel};
        head_integer(context, task, scratch[thread]);
        context.kernels->channel_range(task.out, kBytePanel, n, head_dim_, mn + column, mx + column);
      }
    }
    return out;
  };
  qkv.forward_through(context, x, rows, range, 3, std::cref(attend), proj, into);
}

/// The quantizers of q, k and v of one head of one image.
static void make_qkv_quantizers(const kernels::Kernels& kernels, const QkvPlan& plan, const float* q, const float* k,
                                const float* v, std::int64_t ld, int n, int d, int head, float* mn, float* mx,
                                OperandQuantizers& qq, OperandQuantizers& qk, OperandQuantizers& qv) {
  if (plan.grouping != QkvGrouping::kRow) {
    set_fixed(qq, plan.q, head, d, plan.bits);
    set_fixed(qk, plan.k, head, d, plan.bits);
    set_fixed(qv, plan.v, head, d, plan.bits);
    return;
  }
  kernels.row_range(q, ld, n, d, mn, mx);
  set_rows(kernels, qq, mn, mx, n, plan.bits, true);
  kernels.row_range(k, ld, n, d, mn, mx);
  set_rows(kernels, qk, mn, mx, n, plan.bits, false);
  clear_channel_range({mn, mx}, d);
  kernels.channel_range(v, ld, n, d, mn, mx);
  qv.by_row = false;
  qv.q_max = code_max(plan.bits);
  kernels.range_quantizers(mn, mx, d, qv.q_max, qv.scale, qv.inv_scale, qv.zero);
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
  kernels.gemm_f32(q, ld, n, d, s.panel, 0, (n + kFloatPanel - 1) / kFloatPanel, n, nullptr, false, s.scores,
                   s.scores_stride);
  kernels.softmax_rows(s.scores, s.scores_stride, n, n, scale_, task.bias, n, s.row_a);
  if (context.observer != nullptr) {
    const int part = task.head;
    context.observer->on_tensor(site_, Operand::kSoftmax, part, s.scores, s.scores_stride, n, n);
  }
  if (simulate && plan_->softmax.grouping != Grouping::kFloat) {
    assign_rows(plan_->softmax, n, s.row_a, s.row_b, s.row_c);
    std::fill_n(s.row_a, n, 0.0f);  // zero-points
    kernels.fake_quantize_rows(s.scores, s.scores_stride, n, n, s.row_b, s.row_c, s.row_a,
                               code_max(plan_->softmax.bits));
  }
  kernels.pack_f32(v, ld, false, n, d, s.panel);
  kernels.gemm_f32(s.scores, s.scores_stride, n, n, s.panel, 0, (d + kFloatPanel - 1) / kFloatPanel, d, nullptr, false,
                   task.out, task.ldo);
}

/// Codes of q, k and v; k and v packed as the signed operands of the two products.
void Attention::pack_codes(const ExecContext& context, const Task& task, Scratch& s) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int n = task.n, d = head_dim_, bits = plan_->qkv.bits, middle = 1 << (bits - 1);
  const int slots_d = round_up(d, kernels::kGroupAlign), slots_n = round_up(n, kernels::kGroupAlign);
  make_qkv_quantizers(kernels, plan_->qkv, task.q, task.k, task.v, task.ld, n, d, task.head, s.row_a, s.row_b, s.q, s.k,
                      s.v);
  if (slots_d != d) std::fill_n(s.codes_q, static_cast<std::int64_t>(n) * slots_d, std::uint8_t{0});
  quantize(kernels, s.q, task.q, task.ld, n, d, s.codes_q, slots_d);
  quantize(kernels, s.k, task.k, task.ld, n, d, s.codes_k, d);
  quantize(kernels, s.v, task.v, task.ld, n, d, s.codes_v, d);
  kernels.offset_codes(s.codes_k, static_cast<std::int64_t>(n) * d, middle);
  kernels.offset_codes(s.codes_v, static_cast<std::int64_t>(n) * d, middle);

  // q k^T: the zero-point of q is a correction of the sums, that of k (per column) meets the row sums of q.
  const int zero_q = static_cast<int>(s.q.zero[0]);
  for (int i = 0; i < slots_d; ++i) s.zero_slots[i] = static_cast<std::int16_t>(i < d ? zero_q : 0);
  kernels.code_sums(s.codes_q, slots_d, n, d, zero_q, s.row_c);
  const CodeRange range{code_max(bits), middle};
  for (int j = 0; j < n; j += kBytePanel)
    kernels.pack_bytes_transposed(reinterpret_cast<const std::int8_t*>(s.codes_k) + static_cast<std::int64_t>(j) * d, d,
                                  d, slots_d, s.zero_slots, std::min(kBytePanel, n - j), range, s.k_panels.panel(j),
                                  s.k_panels.corrections + j);
  for (int j = 0; j < n; ++j) {
    const int i = s.k.by_row ? j : 0;
    s.k_panels.col_scale[j] = s.k.scale[i] * (s.q.by_row ? 1.0f : s.q.scale[0]);
    s.k_panels.col_zero[j] = s.k.zero[i] - static_cast<float>(middle);
  }

  // softmax v: the zero-points of v meet the row sums of the softmax codes, which have none themselves.
  const CodeRange range_v{code_max(plan_->softmax.bits), middle};
  for (int c = 0; c < d; c += kBytePanel)
    kernels.pack_bytes(reinterpret_cast<const std::int8_t*>(s.codes_v) + c, d, s.order, slots_n, nullptr, &slots_n, 1,
                       std::min(kBytePanel, d - c), range_v, s.v_panels.panel(c), s.v_panels.corrections + c);
  for (int c = 0; c < d; ++c) {
    s.v_panels.col_scale[c] = s.v.scale[c];
    s.v_panels.col_zero[c] = s.v.zero[c] - static_cast<float>(middle);
  }
}

void Attention::head_integer(const ExecContext& context, const Task& task, Scratch& s) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int n = task.n, d = head_dim_, middle = 1 << (plan_->qkv.bits - 1), softmax_max = code_max(plan_->softmax.bits);
  const int slots_d = round_up(d, kernels::kGroupAlign), slots_n = round_up(n, kernels::kGroupAlign);
  pack_codes(context, task, s);

  const float one = 1.0f;
  kernels::ByteGemm gemm{};
  gemm.groups = 1;
  gemm.group_scale = &one;
  for (int t = 0; t < n; t += gemm.rows) {
    gemm.rows = block_rows(kernels, n - t);
    gemm.a = s.codes_q + static_cast<std::int64_t>(t) * slots_d;
    gemm.lda = slots_d;
    gemm.group_end = &slots_d;
    gemm.row_scale = s.q.by_row ? s.q.scale + t : nullptr;
    gemm.row_sum = s.row_c + t;
    gemm.ldy = s.scores_stride;
    gemm.range = {code_max(plan_->qkv.bits), middle};
    for (int j = 0; j < n; j += kBytePanel) {
      s.k_panels.select(gemm, j, n);
      gemm.y = s.scores + j;
      kernels.byte_gemm(gemm);
    }

    float *inverse = s.row_a, *scale = s.row_b, *inv_scale = s.v.inv_scale;  // v has been quantized
    const float* bias = task.bias == nullptr ? nullptr : task.bias + static_cast<std::int64_t>(t) * n;
    float* code_sums = s.v.zero;                             // likewise
    if (plan_->softmax.grouping == Grouping::kUpperBound) {  // as assign_rows() has them, but for roundings
      kernels.softmax_row_codes(s.scores, s.scores_stride, gemm.rows, n, scale_, bias, n, softmax_max, s.codes_p,
                                slots_n, scale, code_sums);
    } else {
      kernels.softmax_exp(s.scores, s.scores_stride, gemm.rows, n, scale_, bias, n, inverse);
      assign_rows(plan_->softmax, t, t + gemm.rows, n, inverse, scale, inv_scale);
      kernels.softmax_codes(s.scores, s.scores_stride, gemm.rows, n, inverse, inv_scale, softmax_max, s.codes_p,
                            slots_n, code_sums);
    }

    gemm.a = s.codes_p;
    gemm.lda = slots_n;
    gemm.group_end = &slots_n;
    gemm.row_scale = scale;
    gemm.row_sum = code_sums;
    gemm.ldy = task.ldo;
    gemm.range = {softmax_max, middle};
    for (int c = 0; c < d; c += kBytePanel) {
      s.v_panels.select(gemm, c, d);
      gemm.y = task.out + t * task.ldo + c;
      kernels.byte_gemm(gemm);
    }
  }
}

}  // namespace igq
