// Integer execution of fully connected layers: codes in group order times weight panels gathered in the same order, one
// float scale per group and output (method.md section 3); or, where the groups' scales are multiples of one unit, codes times
// multiples in natural order, added up as integers whatever the groups (section 8). Everything that depends on the image is per
// image.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "ops/linear.h"

namespace igq {

using kernels::kBytePanel;

/// A quantized input: its channels' quantizers and its codes, laid out in one of two ways.
///
/// In group order: codes [rows][slots], each group's channels together, because the sums of a group are scaled by themselves.
/// In natural order, where scales are multiples of a unit: codes times multiples, one byte or two, are all in the same unit.
struct Linear::CodedInput {
  ChannelQuantizers q;
  kernels::CodeForm form = kernels::CodeForm::kCodes;  // other forms: natural order
  std::uint8_t *natural = nullptr, *high = nullptr;    // [rows][stride]
  std::int64_t stride = 0;
  int rows = 0;
  std::uint8_t* codes = nullptr;                       // what the product reads, [rows][lda]
  std::int64_t lda = 0;
  bool zero_rows = false;                              // whether rows of zero-points lie before the codes (kernels.h, kZeroRows)
  std::int32_t* sums = nullptr;                        // [threads][rows], sums of multiples times codes
  float* row_sum = nullptr;                            // [rows], null when no weight zero-point needs it
  bool fits_int32 = true;                              // multiples: whether int32 holds every sum of this image

  bool in_natural_order() const { return form != kernels::CodeForm::kCodes; }
};

namespace {

using kernels::ByteGemm;
using kernels::CodeForm;
using kernels::kZeroRows;

static_assert(kernels::kZeroOffset == -kZeroPointMin);

int round_up(int n, int to) { return (n + to - 1) / to * to; }

CodeForm form_of(const ActivationPlan& plan, const kernels::Kernels& kernels) {
  if (plan.multiples.empty()) return CodeForm::kCodes;
  if (plan.multiples.back() * code_max(plan.bits) <= 255) return CodeForm::kProducts;
  return kernels.two_bytes ? CodeForm::kTwoByteProducts : CodeForm::kCodes;
}

kernels::CodeRange code_range(CodeForm form, const LinearPlan& plan) {
  return {form == CodeForm::kCodes ? code_max(plan.input.bits) : 255, 1 << (plan.weight.code_bits() - 1)};
}

/// Where a panel's outputs go, or what they are added to (see ByteGemm).
struct Outputs {
  float* y;
  std::int64_t ldy;
  bool add = false;
  const float* gamma = nullptr;
};

/// Bounds of a = m (code - z) over all codes: the sum over channels of |a|, and of a^2.
struct LargestCodes {
  double sum = 0.0, squares = 0.0;
};
LargestCodes largest_codes(const ChannelQuantizers& q) {
  LargestCodes largest;
  for (int c = 0; c < q.channels; ++c) {
    const float code = q.multiple[c] * std::max(std::abs(q.zero[c]), std::abs(static_cast<float>(q.q_max) - q.zero[c]));  // below 2^18: exact
    largest.sum += static_cast<double>(code);
    largest.squares += static_cast<double>(code) * static_cast<double>(code);
  }
  return largest;
}

/// corrections[n] = -sum over channels of m z w from the sums of the zero rows (see kZeroRows).
void sum_zero_rows(const std::int32_t* sums, std::int64_t* corrections) {
  for (int n = 0; n < kBytePanel; ++n) {
    const std::int64_t shifted = sums[n] + std::int64_t{256} * sums[kBytePanel + n] + std::int64_t{65536} * sums[2 * kBytePanel + n];
    corrections[n] = std::int64_t{kernels::kZeroOffset} * sums[3 * kBytePanel + n] - shifted;
  }
}

/// byte_gemm where int32 does not hold the sums of multiples: they are put together in 64 bits from sums of codes or of low and high
/// bytes, for which `sums` has room, [groups + 1][kZeroRows + rows][kBytePanel]. Rounded once, so where both are possible they are
/// the same.
void multiply_wide(const kernels::Kernels& kernels, const ByteGemm& g, std::int32_t* sums) {
  static constexpr std::int32_t kNone[kBytePanel] = {};
  const int before = g.zero_rows ? kZeroRows : 0, rows = before + g.rows;
  const std::int64_t plane = std::int64_t{rows} * kBytePanel;
  std::int64_t corrections[kBytePanel] = {};
  std::int32_t* high_sums = nullptr;
  ByteGemm bytes = g;
  bytes.zero_rows = false;
  bytes.rows = rows;
  bytes.row_sum = nullptr;
  bytes.y = nullptr;
  bytes.high = nullptr;
  bytes.a = g.a - before * g.lda;
  bytes.sums = sums;
  if (g.multiples == nullptr) bytes.corrections = kNone;  // natural order, where the zero rows are the corrections
  kernels.byte_gemm(bytes);
  if (g.zero_rows) sum_zero_rows(sums, corrections);
  if (g.high != nullptr) {
    bytes.a = g.high - before * g.lda;
    bytes.sums = high_sums = sums + plane;
    kernels.byte_gemm(bytes);
  }
  for (std::int64_t t = 0; t < g.rows; ++t)
    for (int n = 0; n < g.cols; ++n) {
      const std::int64_t at = (before + t) * kBytePanel + n;
      std::int64_t total = corrections[n];
      for (std::int64_t i = 0; i < g.groups; ++i) total += std::int64_t{sums[i * plane + at]} * (g.multiples == nullptr ? 1 : g.multiples[i]);
      if (high_sums != nullptr) total += std::int64_t{256} * high_sums[at];
      float v = static_cast<float>(total) * g.group_scale[0];
      if (g.row_sum != nullptr) v = std::fma(-g.col_zero[n], g.row_sum[t], v);
      const float out = std::fma(v, g.col_scale[n], g.bias == nullptr ? 0.0f : g.bias[n]);
      float& y = g.y[t * g.ldy + n];
      y = g.add ? std::fma(g.gamma == nullptr ? 1.0f : g.gamma[n], out, y) : out;
    }
}

}  // namespace

Linear::CodedInput Linear::take_input(ExecContext& context, int rows) const {
  CodedInput input;
  input.rows = rows;
  input.q = take_quantizers(plan_->input, in_, context.arena);
  input.form = form_of(plan_->input, *context.kernels);
  const bool natural = input.in_natural_order();
  const int slots = natural ? round_up(in_, kernels::kGroupAlign) : in_;
  // Rows that start at whole cache lines, an odd number of them apart so that they share no cache set, are read faster.
  const int lines = round_up(in_, 64) / 64;
  input.stride = natural ? 64 * (lines | 1) : in_;
  const int before = natural ? kZeroRows : 0;
  const auto r = static_cast<std::size_t>(rows), bytes = (r + static_cast<std::size_t>(before)) * static_cast<std::size_t>(input.stride);
  input.natural = context.arena.take<std::uint8_t>(bytes) + before * input.stride;
  if (input.form == CodeForm::kTwoByteProducts) input.high = context.arena.take<std::uint8_t>(bytes) + before * input.stride;
  for (std::uint8_t* codes : {input.natural, input.high})
    for (int t = 0; codes != nullptr && slots != in_ && t < rows; ++t) std::fill_n(codes + t * input.stride + in_, slots - in_, std::uint8_t{0});
  if (input.q.multiples != nullptr && col_zero_needed_) {
    const std::size_t count = r * static_cast<std::size_t>(context.threads());
    input.sums = context.arena.take<std::int32_t>(count);
    std::fill_n(input.sums, count, 0);
  }
  return input;
}

/// Codes of columns [begin, begin + cols) of rows [row, row + rows); x points at the first of them.
void Linear::code_columns(const ExecContext& context, CodedInput& input, const float* x, std::int64_t ldx, int row, int rows, int begin,
                          int cols, int thread) const {
  const ChannelQuantizers& q = input.q;
  const std::int64_t at = row * input.stride + begin;
  if (q.multiples == nullptr) {
    context.kernels->quantize_channels(x, ldx, rows, cols, q.inv_scale + begin, q.zero + begin, q.q_max, input.natural + at, input.stride);
    return;
  }
  context.kernels->quantize_multiples(x, ldx, rows, cols, q.inv_scale + begin, q.zero + begin, q.multiple + begin, q.q_max, input.form,
                                      input.natural + at, input.high == nullptr ? nullptr : input.high + at, input.stride,
                                      input.sums == nullptr ? nullptr : input.sums + std::int64_t{thread} * input.rows + row);
}

/// natural -> codes in group order, once all channels have their quantizers.
void Linear::order_codes(ExecContext& context, CodedInput& input, int rows) const {
  ChannelQuantizers& q = input.q;
  order_slots(q, context.kernels->group_align, context.arena);
  input.lda = q.slots;
  input.codes = context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(q.slots));
  float* row_sum = q.multiples == nullptr ? input.row_sum : nullptr;
  context.parallel_for(rows, 16, [&](std::int64_t b, std::int64_t e, int) {
    context.kernels->permute_codes(input.natural + b * in_, in_, static_cast<int>(e - b), q.order, q.slots, q.slot_zero, q.group_end,
                                   q.group_scale, q.groups, input.codes + b * q.slots, q.slots, row_sum == nullptr ? nullptr : row_sum + b);
  });
}

/// Natural order as one group, and the rows of zero-points.
void Linear::keep_natural_order(ExecContext& context, CodedInput& input) const {
  ChannelQuantizers& q = input.q;
  q.slots = round_up(in_, kernels::kGroupAlign);
  q.groups = 1;
  q.group_end = context.arena.take<std::int32_t>(1);
  q.group_end[0] = q.slots;
  if (packed_for_ != context.kernels) {
    q.order = context.arena.take<std::int32_t>(static_cast<std::size_t>(q.slots));
    for (int c = 0; c < q.slots; ++c) q.order[c] = c < in_ ? c : -1;
  }
  input.codes = input.natural;
  input.lda = input.stride;
  if (std::all_of(q.zero, q.zero + in_, [](float z) { return z == 0.0f; })) return;
  input.zero_rows = true;
  const std::int64_t stride = input.stride;
  std::uint8_t* zero_rows = input.natural - kZeroRows * stride;
  for (std::uint8_t* first : {zero_rows, input.high == nullptr ? nullptr : input.high - kZeroRows * stride})
    if (first != nullptr) std::fill_n(first, kZeroRows * stride, std::uint8_t{0});
  for (int c = 0; c < in_; ++c) {
    const auto m = static_cast<std::uint32_t>(q.multiple[c]);
    const std::uint32_t shifted = m * static_cast<std::uint32_t>(static_cast<int>(q.zero[c]) - kZeroPointMin);
    for (int byte = 0; byte < 3; ++byte) zero_rows[byte * stride + c] = static_cast<std::uint8_t>(shifted >> (8 * byte));
    zero_rows[3 * stride + c] = static_cast<std::uint8_t>(m);
  }
}

/// The largest norm of an output's weight codes.
double Linear::find_largest_code_norm() const {
  constexpr std::int64_t kColumns = 256;
  std::int32_t squares[kColumns], largest = 0;  // 16,384 squares of 128 stay below 2^31
  for (std::int64_t n0 = 0; n0 < out_; n0 += kColumns) {
    const std::int64_t count = std::min(kColumns, out_ - n0);
    std::fill_n(squares, count, 0);
    for (std::int64_t k = 0; k < in_; ++k) {
      const std::int8_t* codes = plan_->weight.codes.data() + k * out_ + n0;
      for (std::int64_t n = 0; n < count; ++n) squares[n] += codes[n] * codes[n];
    }
    largest = std::max(largest, *std::max_element(squares, squares + count));
  }
  return std::sqrt(static_cast<double>(largest));
}

/// What integers need of the weights whatever the image: where the order of codes is always the natural one, the panels too.
void Linear::prepare_integer(const kernels::Kernels& kernels) {
  const CodeForm form = form_of(plan_->input, kernels);
  const WeightPlan& w = plan_->weight;
  if (!plan_->input.multiples.empty() && largest_code_norm_ < 0.0) largest_code_norm_ = find_largest_code_norm();
  if (form == CodeForm::kCodes || packed_for_ != nullptr) return;
  const int slots = round_up(in_, kernels::kGroupAlign);
  const kernels::CodeRange range = code_range(form, *plan_);
  std::vector<std::int32_t> order(static_cast<std::size_t>(slots), -1);
  std::iota(order.begin(), order.begin() + in_, 0);
  panel_bytes_ = (kernels.panel_bytes(slots, 1, range) + 63) / 64 * 64;
  byte_panels_.resize_zero(panel_bytes_ * static_cast<std::size_t>((out_ + kBytePanel - 1) / kBytePanel));
  std::int32_t corrections[kBytePanel];  // of zero-points, which come with the image
  for (int n = 0; n < out_; n += kBytePanel)
    kernels.pack_bytes(w.codes.data() + n, out_, order.data(), slots, nullptr, &slots, 1, std::min(kBytePanel, out_ - n), range,
                       byte_panels_.data() + panel_bytes_ * static_cast<std::size_t>(n / kBytePanel), corrections);
  packed_for_ = &kernels;
}

/// Everything that needs all of the input's codes: their order, sums of rows.
void Linear::finish_codes(ExecContext& context, CodedInput& input, int rows) const {
  const WorkTimer timer(context, Work::kPermute);
  const ChannelQuantizers& q = input.q;
  if (col_zero_needed_) input.row_sum = context.arena.take<float>(static_cast<std::size_t>(rows));
  if (input.in_natural_order()) keep_natural_order(context, input);
  else order_codes(context, input, rows);
  if (q.multiples == nullptr) return;
  // |sum of a w| is at most the sum of |a| times the largest |w|, and at most |a| |w| (Cauchy and Schwarz).
  constexpr double kLimit = 0x1p31 - 1;
  const LargestCodes largest = largest_codes(q);
  input.fits_int32 = largest.sum * static_cast<double>(1 << (plan_->weight.code_bits() - 1)) <= kLimit ||
                     std::sqrt(largest.squares) * largest_code_norm_ * 1.000001 <= kLimit;
  if (input.row_sum == nullptr) return;
  std::int64_t zeros = 0;
  for (int c = 0; c < in_; ++c) zeros += static_cast<std::int64_t>(q.multiple[c]) * static_cast<std::int64_t>(q.zero[c]);
  for (int t = 0; t < rows; ++t) {
    std::int64_t sum = -zeros;
    for (int thread = 0; thread < context.threads(); ++thread) sum += input.sums[std::int64_t{thread} * rows + t];
    input.row_sum[t] = static_cast<float>(sum) * q.unit;
  }
}

/// Asks for the weights of the panel with which `thread` will begin, while pieces [begin, end) of the `count` pieces of work before
/// it are done, which the threads share evenly; those of the other panels are asked for by byte_gemm. `parts` as in multiply().
void Linear::fetch_first_panel(const ExecContext& context, int parts, int thread, std::int64_t begin, std::int64_t end, std::int64_t count) const {
  const std::int64_t threads = context.threads(), panel = (out_ / parts + kBytePanel - 1) / kBytePanel * thread / threads;
  const bool packed = packed_for_ == context.kernels;
  const auto bytes = static_cast<std::int64_t>(panel_bytes_), lines = packed ? bytes / 64 : in_, stride = packed ? 64 : std::int64_t{out_};
  const void* first = packed ? static_cast<const void*>(byte_panels_.data() + panel * bytes) : plan_->weight.codes.data() + panel * kBytePanel;
  const auto line_at = [&](std::int64_t piece) { return std::clamp<std::int64_t>(lines * (piece * threads - thread * count) / count, 0, lines); };
  for (std::int64_t i = line_at(begin); i < line_at(end); ++i) __builtin_prefetch(static_cast<const char*>(first) + i * stride, 0, 2);
}

/// For every panel of output columns from n0 on: place(n0, part, thread) says where its outputs go; finish(n0, cols, part, thread, address)
/// is called when they are there. With more than one part, panel by panel of all parts
/// in turn by the same thread.
template <class Place, class Finish>
void Linear::multiply(ExecContext& context, const CodedInput& input, int rows, int parts, const Place& place, const Finish& finish) const {
  const WorkTimer timer(context, Work::kByteGemm);
  const kernels::Kernels& kernels = *context.kernels;
  const WeightPlan& w = plan_->weight;
  const ChannelQuantizers& q = input.q;
  const bool natural = input.in_natural_order();
  const bool packed = natural && packed_for_ == &kernels;
  const kernels::CodeRange range = code_range(input.form, *plan_);
  const std::size_t panel_bytes = packed ? 0 : (kernels.panel_bytes(q.slots, q.groups, range) + 63) / 64 * 64;
  const std::size_t correction_count = static_cast<std::size_t>(q.groups) * kBytePanel;
  const auto threads = static_cast<std::size_t>(context.threads());
  auto* panels = context.arena.take<std::uint8_t>(panel_bytes * threads);
  auto* all_corrections = context.arena.take<std::int32_t>(correction_count * threads);
  const std::size_t wide_count = input.fits_int32 ? 0 : (static_cast<std::size_t>(q.groups) + 1) * static_cast<std::size_t>(kZeroRows + rows) * kBytePanel;
  auto* all_wide = context.arena.take<std::int32_t>(wide_count * threads);
  const bool any_zero = !natural && std::any_of(q.zero, q.zero + in_, [](float z) { return z != 0.0f; });
  const int part_columns = out_ / parts;
  assert(parts == 1 || part_columns % kBytePanel == 0);
  const auto column_of = [&](std::int64_t p) { return p / parts * kBytePanel + p % parts * part_columns; };
  context.parallel_for((part_columns + kBytePanel - 1) / kBytePanel, 1, [&](std::int64_t begin, std::int64_t end, int t) {
    const std::int64_t b = begin * parts, e = end * parts;
    const auto packed_panel = [&](std::int64_t p) { return byte_panels_.data() + panel_bytes_ * static_cast<std::size_t>(column_of(p) / kBytePanel); };
    std::uint8_t* panel = panels + panel_bytes * static_cast<std::size_t>(t);
    std::int32_t* corrections = all_corrections + correction_count * static_cast<std::size_t>(t);
    std::fill_n(corrections, correction_count, 0);
    for (std::int64_t p = b; p < e; ++p) {
      const std::int64_t n0 = column_of(p);
      const int part = static_cast<int>(p % parts);
      const int cols = static_cast<int>(std::min<std::int64_t>(kBytePanel, out_ - n0));
      if (!packed) {
        const WorkTimer pack_timer(context, Work::kPackPanel, t);
        kernels.pack_bytes(w.codes.data() + n0, out_, q.order, q.slots, any_zero ? q.slot_zero : nullptr, q.group_end, q.groups,
                           cols, range, panel, corrections);
      }
      const Outputs outputs = place(n0, part, t);
      ByteGemm gemm{};
      gemm.a = input.codes;
      gemm.lda = input.lda;
      gemm.rows = rows;
      gemm.panel = packed ? packed_panel(p) : panel;
      gemm.corrections = corrections;
      gemm.groups = q.groups;
      gemm.group_end = q.group_end;
      gemm.group_scale = q.multiples != nullptr ? &q.unit : q.group_scale;
      gemm.multiples = natural ? nullptr : q.multiples;
      gemm.high = input.high;
      gemm.zero_rows = input.zero_rows;
      gemm.row_sum = input.row_sum;
      gemm.col_zero = col_zero_.data() + n0;
      gemm.col_scale = col_scale_.data() + n0;
      gemm.bias = bias_.empty() ? nullptr : bias_.data() + n0;
      gemm.y = outputs.y;
      gemm.ldy = outputs.ldy;
      gemm.add = outputs.add;
      gemm.gamma = outputs.gamma;
      gemm.cols = cols;
      gemm.range = range;
      if (p + 1 < e) gemm.next = packed ? reinterpret_cast<const std::int8_t*>(packed_panel(p + 1)) : w.codes.data() + column_of(p + 1);
      gemm.next_stride = packed ? 64 : out_;
      gemm.next_rows = packed ? static_cast<int>(panel_bytes_ / 64) : in_;
      if (input.fits_int32) kernels.byte_gemm(gemm);
      else multiply_wide(kernels, gemm, all_wide + wide_count * static_cast<std::size_t>(t));
      finish(n0, cols, part, t, outputs.y);
    }
  });
}

/// Quantizes a whole input whose values exist.
Linear::CodedInput Linear::code_input(ExecContext& context, const float* x, int rows, ChannelRange range, int parts) const {
  const WorkTimer timer(context, Work::kQuantize);
  if (needs_channel_ranges(plan_->input) && !range) {
    range = take_channel_range(context, in_);
    channel_range(context, x, in_, rows, in_, range);
  }
  CodedInput input = take_input(context, rows);
  assign_channels(plan_->input, input.q, 0, in_, range.mn, range.mx);
  context.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int thread) {
    constexpr std::int64_t kRows = 16;
    for (std::int64_t b = begin; b < end; b += kRows) {
      const std::int64_t e = std::min(end, b + kRows);
      fetch_first_panel(context, parts, thread, b, e, rows);
      code_columns(context, input, x + b * in_, in_, static_cast<int>(b), static_cast<int>(e - b), 0, in_, thread);
    }
  });
  finish_codes(context, input, rows);
  return input;
}

void Linear::forward_integer(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  const CodedInput input = code_input(context, x, rows, range, 1);
  multiply(context, input, rows, 1, [&](std::int64_t n0, int, int) { return Outputs{y + n0, out_}; },
           [](std::int64_t, int, int, int, float*) {});
}

/// multiply() into panels that stay in the cache, [parts][rows][kBytePanel] for each thread; use(n0, cols, part, thread, panel).
template <class Use>
void Linear::multiply_by_panels(ExecContext& context, const CodedInput& input, int rows, int parts, const Use& use) const {
  const std::int64_t panel_floats = std::int64_t{rows} * kBytePanel;
  auto* panels = context.arena.take<float>(static_cast<std::size_t>(panel_floats * parts * context.threads()));
  const auto place = [&](std::int64_t, int part, int t) { return Outputs{panels + panel_floats * (t * parts + part), kBytePanel}; };
  multiply(context, input, rows, parts, place, use);
}

/// y += gamma * outputs.
void Linear::add_product(ExecContext& context, const CodedInput& input, int rows, const float* gamma, float* y) const {
  multiply(context, input, rows, 1, [&](std::int64_t n0, int, int) { return Outputs{y + n0, out_, true, gamma == nullptr ? nullptr : gamma + n0}; },
           [](std::int64_t, int, int, int, float*) {});
}

void Linear::forward_residual(ExecContext& context, const float* x, int rows, const float* gamma, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  if (runs_integer(context) && context.observer == nullptr)
    return add_product(context, code_input(context, x, rows, range, 1), rows, gamma, y);
  float* outputs = context.arena.take<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_));
  forward(context, x, rows, outputs, range);
  add_residual(context, y, outputs, rows, out_, gamma);
}

void Linear::forward_units(ExecContext& context, const float* x, int rows, ChannelRange range, int parts, const UseUnit& use) const {
  assert(runs_integer(context));
  const ArenaScope scope(context.arena);
  const CodedInput input = code_input(context, x, rows, range, parts);
  multiply_by_panels(context, input, rows, parts, [&](std::int64_t n0, int, int part, int t, const float* panel) {
    if (part != parts - 1) return;
    const std::int64_t unit = (n0 - std::int64_t{part} * (out_ / parts)) / kBytePanel;
    use(static_cast<int>(unit), t, panel - std::int64_t{part} * rows * kBytePanel);
  });
}

void Linear::forward_mlp(ExecContext& context, const float* x, int rows, kernels::Activation activation, const Linear& next,
                         const float* gamma, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  const auto hidden = static_cast<std::size_t>(out_);
  const ChannelRange inner_range = take_channel_range(context, out_);
  if (!runs_integer(context) || !next.runs_integer(context) || context.observer != nullptr) {
    float* inner = context.arena.take<float>(static_cast<std::size_t>(rows) * hidden);
    forward(context, x, rows, inner, range);
    activate(context, activation, inner, rows, out_, inner_range);
    next.forward_residual(context, inner, rows, gamma, y, inner_range);
    return;
  }
  const kernels::Kernels& kernels = *context.kernels;
  const CodedInput input = code_input(context, x, rows, range, 1);
  CodedInput inner = next.take_input(context, rows);
  std::fill_n(inner_range.mn, hidden, std::numeric_limits<float>::infinity());
  std::fill_n(inner_range.mx, hidden, -std::numeric_limits<float>::infinity());
  multiply_by_panels(context, input, rows, 1, [&](std::int64_t n0, int cols, int, int t, float* panel) {
    float *mn = inner_range.mn + n0, *mx = inner_range.mx + n0;
    {
      const WorkTimer timer(context, Work::kActivation, t);
      kernels.activate(activation, panel, kBytePanel, rows, cols, mn, mx);
    }
    const WorkTimer timer(context, Work::kQuantize, t);
    next.fetch_first_panel(context, 1, t, n0, n0 + cols, out_);
    const int begin = static_cast<int>(n0);
    assign_channels(next.plan_->input, inner.q, begin, begin + cols, mn, mx);
    next.code_columns(context, inner, panel, kBytePanel, 0, rows, begin, cols, t);
  });
  next.finish_codes(context, inner, rows);
  next.add_product(context, inner, rows, gamma, y);
}

}  // namespace igq
