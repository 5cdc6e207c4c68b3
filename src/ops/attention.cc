#include "ops/attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "base/fail.h"
#include "ops/attention_parts.h"
#include "quant/grouping.h"

namespace igq {
namespace {

using kernels::CodeRange;
using kernels::kBytePanel;
using kernels::kFloatPanel;

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

void fake_quantize(const kernels::Kernels& k, const OperandQuantizers& q, float* x, std::int64_t ld, int rows,
                   int cols) {
  (q.by_row ? k.fake_quantize_rows : k.fake_quantize_channels)({x, ld, rows, cols}, q.scale,
                                                               {q.inv_scale, q.zero, q.q_max});
}

}  // namespace

void quantize(const kernels::Kernels& kernels, const OperandQuantizers& q, const float* x, std::int64_t ld, int rows,
              int cols, std::uint8_t* codes, std::int64_t ldc) {
  (q.by_row ? kernels.quantize_rows : kernels.quantize_channels)({x, ld, rows, cols}, {q.inv_scale, q.zero, q.q_max},
                                                                 codes, ldc);
}

/// Rows that go from scores to outputs together when `left` are left: kernels.row_block, and up to a quarter more
/// rather than few rows by themselves, which would cost nearly as much as many.
static int block_rows(const kernels::Kernels& kernels, int left) {
  return 4 * left <= 5 * kernels.row_block ? left : kernels.row_block;
}
static int most_block_rows(const kernels::Kernels& kernels, int n) { return std::min(n, 5 * kernels.row_block / 4); }

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

/// tokens: queries and keys.
Attention::Scratch Attention::take_scratch(ExecContext& context, std::array<int, 2> tokens, Execution execution) const {
  const auto [queries, n] = tokens;
  Arena& arena = context.arena;
  Scratch s;
  s.n_padded = round_up(n, kBytePanel);
  s.d_padded = round_up(head_dim_, kBytePanel);
  const auto np = static_cast<std::size_t>(s.n_padded), dp = static_cast<std::size_t>(s.d_padded);
  const auto qp = static_cast<std::size_t>(round_up(queries, kBytePanel)), longest = std::max({np, dp, qp});
  s.scores_stride = round_up(n, kFloatPanel);
  const auto score_rows =
      static_cast<std::size_t>(execution == Execution::kInteger ? most_block_rows(*context.kernels, queries) : queries);
  s.scores = arena.take<float>(score_rows * static_cast<std::size_t>(s.scores_stride));
  for (float** row : {&s.row_a, &s.row_b, &s.row_c}) *row = arena.take<float>(longest);
  if (execution != Execution::kInteger) s.panel = arena.take<float>(np * dp);
  if (execution == Execution::kFloat) return s;
  s.mean_k = arena.take<float>(dp);
  s.mean_v = arena.take<float>(dp);
  std::fill_n(s.mean_v, dp, 0.0f);
  for (OperandQuantizers* q : {&s.q, &s.k, &s.v}) {
    q->scale = arena.take<float>(longest);
    q->inv_scale = arena.take<float>(longest);
    q->zero = arena.take<float>(longest);
  }
  if (execution == Execution::kSimulate) {
    s.copy_q = arena.take<float>(qp * dp);
    for (float** copy : {&s.copy_k, &s.copy_v}) *copy = arena.take<float>(np * dp);
    s.n_padded = static_cast<int>(longest);
    s.codes_q = arena.take<std::uint8_t>(std::max(np, qp) * dp);
    s.codes_p = arena.take<std::uint8_t>(16 * longest);
    s.sums = arena.take<double>(16 * longest);
    s.block = arena.take<float>(16 * longest);
    for (float** row : {&s.small_panel, &s.column_scale, &s.column_zero}) *row = arena.take<float>(longest);
    return s;
  }
  if (plan_->qkv.centred_k) s.copy_k = arena.take<float>(np * dp);
  if (plan_->qkv.centred) s.copy_v = arena.take<float>(np * dp);
  s.codes_q = arena.take<std::uint8_t>(qp * dp);
  for (std::uint8_t** codes : {&s.codes_k, &s.codes_v}) *codes = arena.take<std::uint8_t>(np * dp);
  s.codes_p = arena.take<std::uint8_t>(score_rows * np);
  s.zero_slots = arena.take<std::int16_t>(dp);
  s.order = arena.take<std::int32_t>(np);
  for (int i = 0; i < s.n_padded; ++i) s.order[i] = i < n ? i : -1;
  s.k_panels.take(context, round_up(head_dim_, kernels::kGroupAlign), n);
  s.v_panels.take(context, round_up(n, kernels::kGroupAlign), head_dim_);
  return s;
}

/// A partly quantized attention (only q, k, v or only softmax) runs as simulation in floats, not on bytes.
Execution Attention::actual_execution(const ExecContext& context) const {
  if (plan_ == nullptr) return Execution::kFloat;
  const Execution execution = context.execution_of(site_);
  return execution == Execution::kInteger && !is_complete() ? Execution::kSimulate : execution;
}

bool Attention::is_complete() const {
  return plan_->qkv.grouping != QkvGrouping::kFloat && plan_->softmax.grouping != Grouping::kFloat;
}

Attention::Scratch* Attention::take_scratches(ExecContext& context, int threads, std::array<int, 2> tokens,
                                              Execution execution) const {
  auto* scratch = context.arena.take<Scratch>(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) scratch[t] = take_scratch(context, tokens, execution);
  return scratch;
}

const float* Attention::bias_of(AttentionBias bias, std::int64_t window, int head, int n) const {
  if (bias.table == nullptr) return nullptr;
  const std::int64_t pattern = bias.pattern == nullptr ? 0 : bias.pattern[window];
  return bias.table + (pattern * heads_ + head) * n * n;
}

/// Turns q and k as the qkv layer writes them.
void Attention::rotate(ExecContext& context, const Rotation& rotation, float* qkv, int windows, int n) const {
  const std::int64_t channels = static_cast<std::int64_t>(heads_) * head_dim_;
  context.parallel_for(static_cast<std::int64_t>(windows) * 2 * heads_, 1,
                       [&](std::int64_t begin, std::int64_t end, int) {
                         for (std::int64_t i = begin; i < end; ++i) {
                           float* rows = qkv + i / (2 * heads_) * n * 3 * channels + i % (2 * heads_) * head_dim_;
                           rotate_head(rotation, rows, 3 * channels, n, head_dim_);
                         }
                       });
}

void Attention::attend_head(const ExecContext& context, const Task& task, Scratch& s, Execution execution) const {
  if (context.observer != nullptr) {
    context.observer->on_tensor(site_, Operand::kQ, task.head, task.q, task.ld_q, task.queries, head_dim_);
    context.observer->on_tensor(site_, Operand::kK, task.head, task.k, task.ld, task.n, head_dim_);
    context.observer->on_tensor(site_, Operand::kV, task.head, task.v, task.ld, task.n, head_dim_);
  }
  if (execution == Execution::kInteger)
    head_integer(context, task, s);
  else if (execution == Execution::kSimulate && is_complete())
    head_simulated(context, task, s);
  else
    head_float(context, task, s, execution);
}

void Attention::forward(ExecContext& context, const float* q, int queries, const Keys& keys, float* out) const {
  const WorkTimer timer(context, Work::kAttention);
  const ArenaScope scope(context.arena);
  const Execution actual = actual_execution(context);
  const int threads = context.observer != nullptr ? 1 : context.threads(), channels = heads_ * head_dim_;
  Scratch* scratch = take_scratches(context, threads, {queries, keys.count}, actual);
  const auto run = [&](std::int64_t begin, std::int64_t end, int t) {
    for (std::int64_t head = begin; head < end; ++head) {
      const std::int64_t at = head * head_dim_;
      const Task task{q + at,      keys.k + at, keys.v + at, channels,
                      keys.stride, queries,     keys.count,  static_cast<int>(head),
                      nullptr,     out + at,    channels};
      attend_head(context, task, scratch[t], actual);
    }
  };
  if (threads == 1)
    run(0, heads_, 0);
  else
    context.parallel_for(heads_, 1, run);
  if (context.observer != nullptr)
    context.observer->on_tensor(site_, Operand::kOutput, 0, out, channels, queries, channels);
}

void Attention::forward(ExecContext& context, const float* qkv, int windows, int n, AttentionBias bias,
                        float* out) const {
  const WorkTimer timer(context, Work::kAttention);
  const ArenaScope scope(context.arena);
  const Execution actual = actual_execution(context);
  const int threads = context.observer != nullptr ? 1 : context.threads();
  Scratch* scratch = take_scratches(context, threads, {n, n}, actual);

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
                      3 * channels,
                      n,
                      n,
                      part,
                      bias_of(bias, window, part, n),
                      out + window * n * channels + head * head_dim_,
                      channels};
      attend_head(context, task, scratch[t], actual);
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
    if (bias.rotation != nullptr) rotate(context, *bias.rotation, all, windows, n);
    forward(context, all, windows, n, bias, mixed);
    if (into.add)
      proj.forward_residual(context, mixed, rows, into.gamma, into.y);
    else
      proj.forward(context, mixed, rows, into.y);
    return;
  }
  Scratch* scratch = take_scratches(context, threads, {n, n}, Execution::kInteger);
  const std::int64_t panel = std::int64_t{rows} * kBytePanel;
  float* mixed = context.arena.take<float>(static_cast<std::size_t>(panel * threads));
  const int heads_of_unit = kBytePanel / head_dim_;
  const auto attend = [&](int unit, int, int thread, float* outputs, float* mn, float* mx) {
    const WorkTimer timer(context, Work::kAttention, thread);
    float* out = mixed + panel * thread;
    for (int i = 0; i < heads_of_unit; ++i) {
      const int head = unit * heads_of_unit + i, column = i * head_dim_;
      for (std::int64_t window = 0; window < windows; ++window) {
        const std::int64_t first = window * n * kBytePanel + column;
        float* q = outputs + first;
        if (bias.rotation != nullptr)
          for (float* turned : {q, q + panel}) rotate_head(*bias.rotation, turned, kBytePanel, n, head_dim_);
        const Task task{
            q,           q + panel, q + 2 * panel, kBytePanel, kBytePanel, n, n, head, bias_of(bias, window, head, n),
            out + first, kBytePanel};
        head_integer(context, task, scratch[thread]);
        context.kernels->channel_range(task.out, kBytePanel, n, head_dim_, mn + column, mx + column);
      }
    }
    return out;
  };
  qkv.forward_through(context, x, rows, range, 3, std::cref(attend), proj, into);
}

/// The quantizers of q, k and v of one head of one image, and what the codes of k and v are made of: they, or they less
/// their means in copies.
void Attention::make_quantizers(const kernels::Kernels& kernels, const Task& task, Scratch& s) const {
  const QkvPlan& plan = plan_->qkv;
  const int n = task.n, d = head_dim_;
  float *mn = s.row_a, *mx = s.row_b;
  s.from_k = task.k, s.from_v = task.v;
  s.ld_k = s.ld_v = task.ld;
  if (plan.centred_k) {
    kernels.centre_channels(task.k, task.ld, n, d, s.mean_k, s.copy_k, d, mn, mx);
    s.from_k = s.copy_k, s.ld_k = d;
  }
  clear_channel_range({mn, mx}, d);
  if (plan.centred) {
    kernels.centre_channels(task.v, task.ld, n, d, s.mean_v, s.copy_v, d, mn, mx);
    s.from_v = s.copy_v, s.ld_v = d;
  }
  if (plan.grouping != QkvGrouping::kRow) {
    set_fixed(s.q, plan.q, task.head, d, plan.bits);
    set_fixed(s.k, plan.k, task.head, d, plan.bits);
    set_fixed(s.v, plan.v, task.head, d, plan.bits);
    return;
  }
  if (!plan.centred) kernels.channel_range(task.v, task.ld, n, d, mn, mx);
  s.v.by_row = false;
  s.v.q_max = code_max(plan.bits);
  kernels.range_quantizers(mn, mx, d, s.v.q_max, s.v.scale, s.v.inv_scale, s.v.zero);
  kernels.row_range(task.q, task.ld_q, task.queries, d, mn, mx);
  set_rows(kernels, s.q, mn, mx, task.queries, plan.bits, true);
  kernels.row_range(s.from_k, s.ld_k, n, d, mn, mx);
  set_rows(kernels, s.k, mn, mx, n, plan.bits, false);
}

void Attention::head_float(const ExecContext& context, const Task& task, Scratch& s, Execution execution) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int queries = task.queries, n = task.n, d = head_dim_;
  const float *q = task.q, *k = task.k, *v = task.v;
  std::int64_t ld_q = task.ld_q, ld = task.ld;
  const bool simulate = execution == Execution::kSimulate;
  if (simulate && plan_->qkv.grouping != QkvGrouping::kFloat) {
    make_quantizers(kernels, task, s);
    for (std::int64_t t = 0; t < queries; ++t) std::copy_n(q + t * ld_q, d, s.copy_q + t * d);
    for (std::int64_t t = 0; t < n; ++t) {
      if (s.from_k != s.copy_k) std::copy_n(k + t * ld, d, s.copy_k + t * d);
      if (s.from_v != s.copy_v) std::copy_n(v + t * ld, d, s.copy_v + t * d);
    }
    fake_quantize(kernels, s.q, s.copy_q, d, queries, d);
    fake_quantize(kernels, s.k, s.copy_k, d, n, d);
    fake_quantize(kernels, s.v, s.copy_v, d, n, d);
    q = s.copy_q, k = s.copy_k, v = s.copy_v;
    ld_q = ld = d;
  }
  kernels.pack_f32(k, ld, true, d, n, s.panel);
  kernels.gemm_f32({.x = q,
                    .ldx = ld_q,
                    .rows = queries,
                    .k = d,
                    .packed = s.panel,
                    .panel_begin = 0,
                    .panel_end = (n + kFloatPanel - 1) / kFloatPanel,
                    .n = n,
                    .bias = nullptr,
                    .accumulate = false,
                    .y = s.scores,
                    .ldy = s.scores_stride});
  kernels.softmax_rows({s.scores, s.scores_stride, queries, n}, {scale_, task.bias, n}, s.row_a);
  if (context.observer != nullptr) {
    const int part = task.head;
    context.observer->on_tensor(site_, Operand::kSoftmax, part, s.scores, s.scores_stride, queries, n);
  }
  if (simulate && plan_->softmax.grouping != Grouping::kFloat) {
    assign_rows(plan_->softmax, queries, s.row_a, s.row_b, s.row_c);
    std::fill_n(s.row_a, queries, 0.0f);  // zero-points
    kernels.fake_quantize_rows({s.scores, s.scores_stride, queries, n}, s.row_b,
                               {s.row_c, s.row_a, code_max(plan_->softmax.bits)});
  }
  kernels.pack_f32(v, ld, false, n, d, s.panel);
  kernels.gemm_f32({.x = s.scores,
                    .ldx = s.scores_stride,
                    .rows = queries,
                    .k = n,
                    .packed = s.panel,
                    .panel_begin = 0,
                    .panel_end = (d + kFloatPanel - 1) / kFloatPanel,
                    .n = d,
                    .bias = s.mean_v,
                    .accumulate = false,
                    .y = task.out,
                    .ldy = task.ldo});
}

/// Codes of q, k and v; k and v packed as the signed operands of the two products.
void Attention::pack_codes(const ExecContext& context, const Task& task, Scratch& s) const {
  const kernels::Kernels& kernels = *context.kernels;
  const int n = task.n, d = head_dim_, bits = plan_->qkv.bits, middle = 1 << (bits - 1);
  const int slots_d = round_up(d, kernels::kGroupAlign), slots_n = round_up(n, kernels::kGroupAlign);
  make_quantizers(kernels, task, s);
  if (slots_d != d) std::fill_n(s.codes_q, std::int64_t{task.queries} * slots_d, std::uint8_t{0});
  quantize(kernels, s.q, task.q, task.ld_q, task.queries, d, s.codes_q, slots_d);
  quantize(kernels, s.k, s.from_k, s.ld_k, n, d, s.codes_k, d);
  quantize(kernels, s.v, s.from_v, s.ld_v, n, d, s.codes_v, d);
  kernels.offset_codes(s.codes_k, static_cast<std::int64_t>(n) * d, middle);
  kernels.offset_codes(s.codes_v, static_cast<std::int64_t>(n) * d, middle);

  // q k^T: the zero-point of q is a correction of the sums, that of k (per column) meets the row sums of q.
  const int zero_q = static_cast<int>(s.q.zero[0]);
  for (int i = 0; i < slots_d; ++i) s.zero_slots[i] = static_cast<std::int16_t>(i < d ? zero_q : 0);
  kernels.code_sums(s.codes_q, slots_d, task.queries, d, zero_q, s.row_c);
  const CodeRange range{code_max(bits), middle};
  for (int j = 0; j < n; j += kBytePanel)
    kernels.pack_bytes_transposed({reinterpret_cast<const std::int8_t*>(s.codes_k) + static_cast<std::int64_t>(j) * d,
                                   d, std::min(kBytePanel, n - j), range},
                                  d, slots_d, s.zero_slots, s.k_panels.panel(j), s.k_panels.corrections + j);
  for (int j = 0; j < n; ++j) {
    const int i = s.k.by_row ? j : 0;
    s.k_panels.col_scale[j] = s.k.scale[i] * (s.q.by_row ? 1.0f : s.q.scale[0]);
    s.k_panels.col_zero[j] = s.k.zero[i] - static_cast<float>(middle);
  }

  // softmax v: the zero-points of v meet the row sums of the softmax codes, which have none themselves.
  const CodeRange range_v{code_max(plan_->softmax.bits), middle};
  for (int c = 0; c < d; c += kBytePanel)
    kernels.pack_bytes({reinterpret_cast<const std::int8_t*>(s.codes_v) + c, d, std::min(kBytePanel, d - c), range_v},
                       {s.order, slots_n, nullptr, &slots_n, 1}, s.v_panels.panel(c), s.v_panels.corrections + c);
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
  for (int t = 0; t < task.queries; t += gemm.rows) {
    gemm.rows = block_rows(kernels, task.queries - t);
    gemm.a = s.codes_q + static_cast<std::int64_t>(t) * slots_d;
    gemm.lda = slots_d;
    gemm.group_end = &slots_d;
    gemm.row_scale = s.q.by_row ? s.q.scale + t : nullptr;
    gemm.row_sum = s.row_c + t;
    gemm.ldy = s.scores_stride;
    gemm.bias = nullptr;
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
      kernels.softmax_row_codes({s.scores, s.scores_stride, gemm.rows, n}, {scale_, bias, n}, softmax_max, s.codes_p,
                                slots_n, scale, code_sums);
    } else {
      kernels.softmax_exp({s.scores, s.scores_stride, gemm.rows, n}, {scale_, bias, n}, inverse);
      assign_rows(plan_->softmax, t, t + gemm.rows, task.queries, inverse, scale, inv_scale);
      kernels.softmax_codes({s.scores, s.scores_stride, gemm.rows, n}, inverse, inv_scale, softmax_max, s.codes_p,
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
      if (plan_->qkv.centred) gemm.bias = s.mean_v + c;
      gemm.y = task.out + t * task.ldo + c;
      kernels.byte_gemm(gemm);
    }
  }
}

}  // namespace igq
