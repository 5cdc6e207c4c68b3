// Integer execution of fully connected layers: codes in group order times weight panels gathered in the same order, one
// float scale per group and output (method.md section 3). Everything that depends on the image is per image.
#include <algorithm>
#include <limits>

#include "ops/linear.h"

namespace igq {

using kernels::kBytePanel;

Linear::CodedInput Linear::take_input(ExecContext& context, int rows) const {
  CodedInput input;
  input.q = take_quantizers(plan_->input, in_, context.arena);
  input.natural = context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(in_));
  return input;
}

/// natural -> codes, once all channels have their quantizers.
void Linear::order_codes(ExecContext& context, CodedInput& input, int rows) const {
  const WorkTimer timer(context, Work::kPermute);
  ChannelQuantizers& q = input.q;
  order_slots(q, context.kernels->group_align, context.arena);
  input.codes = context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(q.slots));
  if (col_zero_needed_) input.row_sum = context.arena.take<float>(static_cast<std::size_t>(rows));
  context.parallel_for(rows, 16, [&](std::int64_t b, std::int64_t e, int) {
    context.kernels->permute_codes(input.natural + b * in_, in_, static_cast<int>(e - b), q.order, q.slots, q.slot_zero, q.group_end,
                                   q.group_scale, q.groups, input.codes + b * q.slots, q.slots,
                                   input.row_sum == nullptr ? nullptr : input.row_sum + b);
  });
}

/// Asks for the weights of a layer's first panel while `begin` to `end` of `count` pieces of the work before it are
/// done; those of the other panels are asked for by byte_gemm.
void Linear::fetch_first_panel(std::int64_t begin, std::int64_t end, std::int64_t count) const {
  const std::int8_t* w = plan_->weight.codes.data();
  for (std::int64_t k = in_ * begin / count; k < in_ * end / count; ++k) __builtin_prefetch(w + k * out_, 0, 2);
}

/// For every panel of output columns from n0 on: place(n0, thread) says where its outputs go (address, stride);
/// finish(n0, cols, thread, address) is called when they are there.
template <class Place, class Finish>
void Linear::multiply(ExecContext& context, const CodedInput& input, int rows, const Place& place, const Finish& finish) const {
  const WorkTimer timer(context, Work::kByteGemm);
  const kernels::Kernels& kernels = *context.kernels;
  const WeightPlan& w = plan_->weight;
  const ChannelQuantizers& q = input.q;
  const kernels::CodeRange range{code_max(plan_->input.bits), 1 << (w.code_bits() - 1)};
  const std::size_t panel_bytes = (kernels.panel_bytes(q.slots, q.groups, range) + 63) / 64 * 64;
  const std::size_t correction_count = static_cast<std::size_t>(q.groups) * kBytePanel;
  const auto threads = static_cast<std::size_t>(context.threads());
  auto* panels = context.arena.take<std::uint8_t>(panel_bytes * threads);
  auto* all_corrections = context.arena.take<std::int32_t>(correction_count * threads);
  const bool any_zero = std::any_of(q.zero, q.zero + in_, [](float z) { return z != 0.0f; });
  context.parallel_for((out_ + kBytePanel - 1) / kBytePanel, 1, [&](std::int64_t b, std::int64_t e, int t) {
    void* panel = panels + panel_bytes * static_cast<std::size_t>(t);
    std::int32_t* corrections = all_corrections + correction_count * static_cast<std::size_t>(t);
    for (std::int64_t p = b; p < e; ++p) {
      const std::int64_t n0 = p * kBytePanel;
      const int cols = static_cast<int>(std::min<std::int64_t>(kBytePanel, out_ - n0));
      {
        const WorkTimer pack_timer(context, Work::kPackPanel, t);
        kernels.pack_bytes(w.codes.data() + n0, out_, q.order, q.slots, any_zero ? q.slot_zero : nullptr, q.group_end, q.groups,
                           cols, range, panel, corrections);
      }
      const auto [y, ldy] = place(n0, t);
      kernels::ByteGemm gemm{};
      gemm.a = input.codes;
      gemm.lda = q.slots;
      gemm.rows = rows;
      gemm.panel = panel;
      gemm.corrections = corrections;
      gemm.groups = q.groups;
      gemm.group_end = q.group_end;
      gemm.group_scale = q.group_scale;
      gemm.row_sum = input.row_sum;
      gemm.col_zero = col_zero_.data() + n0;
      gemm.col_scale = col_scale_.data() + n0;
      gemm.bias = bias_.empty() ? nullptr : bias_.data() + n0;
      gemm.y = y;
      gemm.ldy = ldy;
      gemm.cols = cols;
      gemm.range = range;
      if (p + 1 < e) gemm.next = w.codes.data() + n0 + kBytePanel;
      gemm.next_stride = out_;
      gemm.next_rows = in_;
      kernels.byte_gemm(gemm);
      finish(n0, cols, t, y);
    }
  });
}

/// Quantizes a whole input whose values exist.
Linear::CodedInput Linear::code_input(ExecContext& context, const float* x, int rows, ChannelRange range) const {
  const WorkTimer timer(context, Work::kQuantize);
  if (needs_channel_ranges(plan_->input) && !range) {
    range = take_channel_range(context, in_);
    channel_range(context, x, in_, rows, in_, range);
  }
  CodedInput input = take_input(context, rows);
  assign_channels(plan_->input, input.q, 0, in_, range.mn, range.mx);
  context.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    constexpr std::int64_t kRows = 16;
    for (std::int64_t b = begin; b < end; b += kRows) {
      const std::int64_t e = std::min(end, b + kRows);
      fetch_first_panel(b, e, rows);
      context.kernels->quantize_channels(x + b * in_, in_, static_cast<int>(e - b), in_, input.q.inv_scale, input.q.zero,
                                         input.q.q_max, input.natural + b * in_, in_);
    }
  });
  order_codes(context, input, rows);
  return input;
}

void Linear::multiply_into(ExecContext& context, const CodedInput& input, int rows, float* y) const {
  multiply(context, input, rows, [&](std::int64_t n0, int) { return std::pair(y + n0, std::int64_t{out_}); },
           [](std::int64_t, int, int, float*) {});
}

void Linear::forward_integer(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  multiply_into(context, code_input(context, x, rows, range), rows, y);
}

void Linear::forward_mlp(ExecContext& context, const float* x, int rows, kernels::Activation activation, const Linear& next,
                         float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  const auto hidden = static_cast<std::size_t>(out_);
  const ChannelRange inner_range = take_channel_range(context, out_);
  if (!runs_integer(context) || !next.runs_integer(context) || context.observer != nullptr) {
    float* inner = context.arena.take<float>(static_cast<std::size_t>(rows) * hidden);
    forward(context, x, rows, inner, range);
    activate(context, activation, inner, rows, out_, inner_range);
    next.forward(context, inner, rows, y, inner_range);
    return;
  }
  const kernels::Kernels& kernels = *context.kernels;
  const CodedInput input = code_input(context, x, rows, range);
  CodedInput inner = next.take_input(context, rows);
  std::fill_n(inner_range.mn, hidden, std::numeric_limits<float>::infinity());
  std::fill_n(inner_range.mx, hidden, -std::numeric_limits<float>::infinity());
  const std::size_t panel_floats = static_cast<std::size_t>(rows) * kBytePanel;
  auto* panels = context.arena.take<float>(panel_floats * static_cast<std::size_t>(context.threads()));
  const auto place = [&](std::int64_t, int t) {
    return std::pair(panels + panel_floats * static_cast<std::size_t>(t), std::int64_t{kBytePanel});
  };
  multiply(context, input, rows, place, [&](std::int64_t n0, int cols, int t, float* panel) {
    float *mn = inner_range.mn + n0, *mx = inner_range.mx + n0;
    {
      const WorkTimer timer(context, Work::kActivation, t);
      kernels.activate(activation, panel, kBytePanel, rows, cols, mn, mx);
    }
    const WorkTimer timer(context, Work::kQuantize, t);
    next.fetch_first_panel(n0, n0 + cols, out_);
    const int begin = static_cast<int>(n0);
    assign_channels(next.plan_->input, inner.q, begin, begin + cols, mn, mx);
    kernels.quantize_channels(panel, kBytePanel, rows, cols, inner.q.inv_scale + n0, inner.q.zero + n0, inner.q.q_max,
                              inner.natural + n0, out_);
  });
  next.order_codes(context, inner, rows);
  next.multiply_into(context, inner, rows, y);
}

}  // namespace igq
