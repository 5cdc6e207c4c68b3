// Integer execution of fully connected layers: codes in group order times weight panels gathered in the same order, one
// float scale per group and output (docs/method.md, section 3); or, where the groups' scales are multiples of one unit,
// codes times multiples in natural order, bytes that one product adds up whatever the groups (section 8): channels with
// larger multiples are counted several times.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "ops/linear_codes.h"

namespace igq {

using kernels::ByteGemm;
using kernels::kBytePanel;
using kernels::kZeroRows;

namespace {

/// corrections[n] = -sum over channels of m z w from the sums of the zero rows (see kZeroRows).
void sum_zero_rows(const std::int32_t* sums, std::int64_t* corrections) {
  for (int n = 0; n < kBytePanel; ++n) {
    const std::int64_t shifted =
        sums[n] + std::int64_t{256} * sums[kBytePanel + n] + std::int64_t{65536} * sums[2 * kBytePanel + n];
    corrections[n] = std::int64_t{kernels::kZeroOffset} * sums[3 * kBytePanel + n] - shifted;
  }
}

/// The plain sums of the codes of `g`, one plane for each group, those of the `before` rows above its own first. Where
/// the order is natural nothing is taken from them: there the zero rows are the corrections.
void sum_codes(const kernels::Kernels& kernels, const ByteGemm& g, int before, std::int32_t* sums) {
  static constexpr std::int32_t kNone[kBytePanel] = {};
  ByteGemm bytes = g;
  bytes.zero_rows = false;
  bytes.rows = before + g.rows;
  bytes.row_sum = nullptr;
  bytes.y = nullptr;
  bytes.a = g.a - before * g.lda;
  if (g.extra_slots > 0) bytes.extra = g.extra - before * g.extra_lda;
  bytes.sums = sums;
  if (g.multiples == nullptr) bytes.corrections = kNone;
  kernels.byte_gemm(bytes);
}

}  // namespace

void zero_row_corrections(const kernels::Kernels& kernels, const ByteGemm& g, std::int32_t* corrections) {
  assert(g.rows == 0 && g.multiples == nullptr);
  std::int32_t sums[kZeroRows * kBytePanel];
  std::int64_t exact[kBytePanel];
  sum_codes(kernels, g, kZeroRows, sums);
  sum_zero_rows(sums, exact);
  for (int n = 0; n < kBytePanel; ++n) corrections[n] = static_cast<std::int32_t>(exact[n]);
}

void multiply_wide(const kernels::Kernels& kernels, const ByteGemm& g, std::int32_t* sums) {
  const int before = g.zero_rows ? kZeroRows : 0;
  const std::int64_t plane = std::int64_t{before + g.rows} * kBytePanel;
  std::int64_t corrections[kBytePanel] = {};
  sum_codes(kernels, g, before, sums);
  if (g.zero_rows) sum_zero_rows(sums, corrections);
  for (std::int64_t t = 0; t < g.rows; ++t)
    for (int n = 0; n < g.cols; ++n) {
      const std::int64_t at = (before + t) * kBytePanel + n;
      std::int64_t total = corrections[n];
      for (std::int64_t i = 0; i < g.groups; ++i)
        total += std::int64_t{sums[i * plane + at]} * (g.multiples == nullptr ? 1 : g.multiples[i]);
      float v = static_cast<float>(total) * g.group_scale[0];
      if (g.row_sum != nullptr) v = std::fma(-g.col_zero[n], g.row_sum[t], v);
      const float out = std::fma(v, g.col_scale[n], g.bias == nullptr ? 0.0f : g.bias[n]);
      float& y = g.y[t * g.ldy + n];
      y = g.add ? std::fma(g.gamma == nullptr ? 1.0f : g.gamma[n], out, y) : out;
    }
}

/// The product of rows [row, row + rows) with the panel of columns from n0 on, but for the panel itself and its
/// corrections.
ByteGemm Linear::product(const CodedInput& input, std::int64_t n0, int row, int rows, const Outputs& outputs) const {
  const ChannelQuantizers& q = input.q;
  const bool natural = input.in_natural_order();
  ByteGemm gemm{};
  gemm.a = input.codes + (natural ? input.offset(row) : 0);
  gemm.lda = input.lda;
  gemm.rows = rows;
  gemm.groups = q.groups;
  gemm.group_end = q.group_end;
  gemm.group_scale = q.multiples != nullptr ? q.image_scale : q.group_scale;  // the unit is in col_scale_
  gemm.multiples = natural ? nullptr : q.multiples;
  if (input.extra_slots > 0) {
    gemm.extra = input.extra + input.place(row) * input.extra_lda;
    gemm.extra_lda = input.extra_lda;
    gemm.extra_slots = input.extra_slots;
  }
  gemm.zero_rows = input.zero_rows;
  gemm.row_sum = input.row_sum == nullptr ? nullptr : input.row_sum + row;
  gemm.col_zero = col_zero_.data() + n0;
  gemm.col_scale = col_scale_.data() + n0;
  gemm.bias = bias_.empty() ? nullptr : bias_.data() + n0;
  gemm.y = outputs.y + row * outputs.ldy;
  gemm.ldy = outputs.ldy;
  gemm.add = outputs.add;
  gemm.gamma = outputs.gamma;
  gemm.cols = static_cast<int>(std::min<std::int64_t>(kBytePanel, out_ - n0));
  gemm.range = input.range;
  return gemm;
}

/// For every panel of output columns from n0 on: place(n0, part, thread) says where its outputs go; finish(n0, cols,
/// part, thread, address) is called when they are there, of a segment of rows once for each. With more than one part,
/// panel by panel of all parts in turn by the same thread.
template <class Place, class Finish>
void Linear::multiply(ExecContext& context, const CodedInput& input, const Place& place, const Finish& finish) const {
  const WorkTimer timer(context, Work::kByteGemm);
  const kernels::Kernels& kernels = *context.kernels;
  const WeightPlan& w = plan_->weight;
  const ChannelQuantizers& q = input.q;
  const bool natural = input.in_natural_order();
  const bool packed = packed_for_ == &kernels;
  const int parts = input.parts;
  const std::size_t panel_bytes = packed ? 0 : (kernels.panel_bytes(q.slots, q.groups, input.range) + 63) / 64 * 64;
  const std::size_t extra_bytes =
      input.extra_slots == 0 ? 0 : (kernels.panel_bytes(input.extra_slots, 1, input.range) + 63) / 64 * 64;
  const std::size_t correction_count = static_cast<std::size_t>(q.groups) * kBytePanel;
  const auto threads = static_cast<std::size_t>(context.threads());
  auto* panels = context.arena.take<std::uint8_t>(panel_bytes * threads);
  auto* extra_panels = context.arena.take<std::uint8_t>(extra_bytes * threads);
  auto* all_corrections = context.arena.take<std::int32_t>(correction_count * threads);
  const std::size_t wide_count =
      input.fits_int32
          ? 0
          : static_cast<std::size_t>(q.groups) * static_cast<std::size_t>(kZeroRows + input.segment_rows) * kBytePanel;
  auto* all_wide = context.arena.take<std::int32_t>(wide_count * threads);
  const bool any_zero = !natural && std::any_of(q.zero, q.zero + in_, [](float z) { return z != 0.0f; });
  const int part_columns = out_ / parts;
  assert(parts == 1 || part_columns % kBytePanel == 0);
  const auto column_of = [&](std::int64_t p) { return p / parts * kBytePanel + p % parts * part_columns; };
  const auto packed_panel = [&](std::int64_t p) {
    return byte_panels_.data() + panel_bytes_ * static_cast<std::size_t>(column_of(p) / kBytePanel);
  };
  // Panels [b, e) of rows [row, row + rows).
  const auto run = [&](std::int64_t b, std::int64_t e, int row, int rows, int t) {
    std::uint8_t* panel = panels + panel_bytes * static_cast<std::size_t>(t);
    std::int32_t* image_corrections = all_corrections + correction_count * static_cast<std::size_t>(t);
    std::fill_n(image_corrections, correction_count, 0);
    for (std::int64_t p = b; p < e; ++p) {
      const std::int64_t n0 = column_of(p);
      const int part = static_cast<int>(p % parts);
      const int cols = static_cast<int>(std::min<std::int64_t>(kBytePanel, out_ - n0));
      if (!packed) {
        const WorkTimer pack_timer(context, Work::kPackPanel, t);
        kernels.pack_bytes({w.codes.data() + n0, out_, cols, input.range},
                           {q.order, q.slots, any_zero ? q.slot_zero : nullptr, q.group_end, q.groups}, panel,
                           image_corrections);
      }
      const void* weights = packed ? static_cast<const void*>(packed_panel(p)) : panel;
      std::uint8_t* extra_panel =
          input.extra_slots == 0 ? nullptr : extra_panels + extra_bytes * static_cast<std::size_t>(t);
      if (extra_panel != nullptr) {
        const WorkTimer pack_timer(context, Work::kPackPanel, t);
        kernels.repeat_slots(weights, q.slots, input.extra_order, input.extra_slots, input.range, extra_panel);
      }
      const Outputs outputs = place(n0, part, t);
      ByteGemm gemm = product(input, n0, row, rows, outputs);
      gemm.panel = weights;
      gemm.extra_panel = extra_panel;
      gemm.corrections = packed && !natural
                             ? fixed_corrections_.data() + correction_count * static_cast<std::size_t>(n0 / kBytePanel)
                             : image_corrections;
      if (p + 1 < e) gemm.next = packed ? packed_panel(p + 1) : w.codes.data() + column_of(p + 1);
      gemm.next_stride = packed ? 64 : out_;
      gemm.next_rows = packed ? static_cast<int>(panel_bytes_ / 64) : in_;
      if (input.fits_int32)
        kernels.byte_gemm(gemm);
      else
        multiply_wide(kernels, gemm, all_wide + wide_count * static_cast<std::size_t>(t));
      finish(n0, cols, part, t, outputs.y);
    }
  };
  const std::int64_t panel_count = (part_columns + kBytePanel - 1) / kBytePanel;
  if (input.segments() > 1) {
    context.parallel_for(input.segments(), 1, [&](std::int64_t begin, std::int64_t end, int t) {
      for (auto row = static_cast<int>(begin) * input.segment_rows;
           row < std::min<std::int64_t>(end * input.segment_rows, input.rows); row += input.segment_rows)
        run(0, panel_count * parts, row, std::min(input.segment_rows, input.rows - row), t);
    });
  } else {
    context.parallel_for(panel_count, 1, [&](std::int64_t begin, std::int64_t end, int t) {
      run(begin * parts, end * parts, 0, input.rows, t);
    });
  }
}

/// Whether threads had better share rows than panels: a product that is added reads what it is added to, which then
/// lies in the same processor's cache; and few panels may not share out evenly.
bool Linear::had_better_share_rows(const ExecContext& context, Into into) const {
  const int panels = (out_ + kBytePanel - 1) / kBytePanel, threads = context.threads();
  return into.add || (panels % threads != 0 && panels < 4 * threads);
}

void Linear::forward_integer(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  multiply_into(context, code_input(context, x, rows, range, 1, had_better_share_rows(context, {y})), {y});
}

/// multiply() into panels that stay in the cache, [parts][rows][kBytePanel] for each thread; use(n0, cols, part,
/// thread, panel).
template <class Use>
void Linear::multiply_by_panels(ExecContext& context, const CodedInput& input, const Use& use) const {
  const std::int64_t panel_floats = std::int64_t{input.rows} * kBytePanel;
  auto* panels = context.arena.take<float>(static_cast<std::size_t>(panel_floats * input.parts * context.threads()));
  const auto place = [&](std::int64_t, int part, int t) {
    return Outputs{panels + panel_floats * (t * input.parts + part), kBytePanel};
  };
  multiply(context, input, place, use);
}

void Linear::multiply_into(ExecContext& context, const CodedInput& input, Into into) const {
  const auto place = [&](std::int64_t n0, int, int) {
    return Outputs{into.y + n0, out_, into.add, into.gamma == nullptr ? nullptr : into.gamma + n0};
  };
  multiply(context, input, place, [](std::int64_t, int, int, int, float*) {});
}

void Linear::forward_residual(ExecContext& context, const float* x, int rows, const float* gamma, float* y,
                              ChannelRange range) const {
  const ArenaScope scope(context.arena);
  if (runs_integer(context) && context.observer == nullptr)
    return multiply_into(context, code_input(context, x, rows, range, 1, true), {y, true, gamma});
  float* outputs = context.arena.take<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_));
  forward(context, x, rows, outputs, range);
  add_residual(context, y, outputs, rows, out_, gamma);
}

void Linear::forward_through(ExecContext& context, const float* x, int rows, ChannelRange range, int parts,
                             const Between& between, const Linear& next, Into into) const {
  assert(runs_integer(context) && next.runs_integer(context));
  const ArenaScope scope(context.arena);
  const CodedInput input = code_input(context, x, rows, range, parts, false);
  const int wanted = into.rows == 0 ? rows : into.rows;
  CodedInput inner = next.take_input(context, wanted, 1, next.had_better_share_rows(context, into));
  const int width = next.in_;
  const ChannelRange inner_range = take_channel_range(context, width);
  clear_channel_range(inner_range, width);
  const ActivationPlan& inner_plan = next.plan_->input;
  const auto each_unit = [&](const auto& use) {
    multiply_by_panels(context, input, [&](std::int64_t n0, int cols, int part, int t, float* panel) {
      if (part != parts - 1) return;
      const auto begin = static_cast<int>(n0 - std::int64_t{part} * width);
      float* unit = panel - std::int64_t{part} * rows * kBytePanel;
      use(begin, cols, t, between(begin / kBytePanel, cols, t, unit, inner_range.mn + begin, inner_range.mx + begin));
    });
  };
  if (!inner_plan.from_image)
    each_unit([&](int begin, int cols, int t, const float* columns) {
      const WorkTimer timer(context, Work::kQuantize, t);
      next.fetch_first_panel(context, inner, t, begin, begin + cols, width);
      assign_channels(inner_plan, *context.kernels, inner.q, begin, begin + cols, inner_range.mn + begin,
                      inner_range.mx + begin);
      next.code_columns(context, inner, columns, kBytePanel, 0, wanted, begin, cols, t);
    });
  if (inner_plan.from_image || fit_image(inner_plan, *context.kernels, inner.q, inner_range.mn, inner_range.mx)) {
    // Quantizers that need all ranges: rarely, an image whose channels are wider than calibration's. The inner tensor
    // is made once more, as floats.
    float* whole = context.arena.take<float>(static_cast<std::size_t>(wanted) * static_cast<std::size_t>(width));
    each_unit([&](int begin, int cols, int, const float* columns) {
      for (std::int64_t t = 0; t < wanted; ++t) std::copy_n(columns + t * kBytePanel, cols, whole + t * width + begin);
    });
    if (inner_plan.from_image) fit_image(inner_plan, *context.kernels, inner.q, inner_range.mn, inner_range.mx);
    if (inner.sums != nullptr) std::fill_n(inner.sums, std::int64_t{wanted} * context.threads(), 0);
    next.code_rows(context, inner, whole, wanted);
    return next.multiply_into(context, inner, into);
  }
  if (inner.in_natural_order()) {
    next.lay_out_slots(context, inner);
    const WorkTimer timer(context, Work::kPermute);
    if (inner.extra_slots > 0)
      context.parallel_for(wanted, 16, [&](std::int64_t begin, std::int64_t end, int) {
        next.fill_extra_slots(context, inner, static_cast<int>(begin), static_cast<int>(end - begin));
      });
  }
  next.finish_codes(context, inner, wanted);
  next.multiply_into(context, inner, into);
}

void Linear::forward_mlp(ExecContext& context, const float* x, int rows, kernels::Activation activation,
                         const Linear& next, const float* gamma, float* y, int wanted, ChannelRange range) const {
  if (runs_integer(context) && next.runs_integer(context) && context.observer == nullptr) {
    const auto activated = [&](int, int cols, int t, float* outputs, float* mn, float* mx) {
      const WorkTimer timer(context, Work::kActivation, t);
      context.kernels->activate(activation, outputs, kBytePanel, rows, cols, mn, mx);
      return outputs;
    };
    return forward_through(context, x, rows, range, 1, std::cref(activated), next, {y, true, gamma, wanted});
  }
  const ArenaScope scope(context.arena);
  const ChannelRange inner_range = take_channel_range(context, out_);
  float* inner = context.arena.take<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_));
  forward(context, x, rows, inner, range);
  activate(context, activation, inner, rows, out_, inner_range);
  next.forward_residual(context, inner, wanted, gamma, y, inner_range);
}

}  // namespace igq
