// Inputs of fully connected layers as codes: quantized, laid out for the product, and what else the product needs to
// know of them. Everything that depends on the image is per image.
#include "ops/linear_codes.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/round_up.h"

namespace igq {

using kernels::CodeForm;
using kernels::kBytePanel;
using kernels::kZeroRows;

namespace {

static_assert(kernels::kZeroOffset >= kZeroPointLimit + code_max(8) &&
              32767 - code_max(8) >= kZeroPointLimit + code_max(8));

constexpr double kInt32Limit = 0x1p31 - 1;

CodeForm form_of(const ActivationPlan& plan, int channels) {
  return plan.from_image || fits_slots(plan, channels) ? CodeForm::kProducts : CodeForm::kCodes;
}

kernels::CodeRange code_range(CodeForm form, const LinearPlan& plan) {
  return {form == CodeForm::kCodes ? code_max(plan.input.bits) : 255, 1 << (plan.weight.code_bits() - 1)};
}

/// Bounds of a = m (code - z) over all codes: the sum over channels of |a|, and of a^2.
struct LargestCodes {
  double sum = 0.0, squares = 0.0;
};
LargestCodes largest_codes(const ChannelQuantizers& q) {
  LargestCodes largest;
  for (int c = 0; c < q.channels; ++c) {
    const float code =
        q.multiple[c] * static_cast<float>(q.copies[c]) *
        std::max(std::abs(q.zero[c]), std::abs(static_cast<float>(q.q_max) - q.zero[c]));  // below 2^23: exact
    largest.sum += static_cast<double>(code);
    largest.squares += static_cast<double>(code) * static_cast<double>(code);
  }
  return largest;
}

}  // namespace

/// Blocks of plain sums, products below 2^23 exact in float, so that compilers make
/// vectors of them.
std::int64_t sum_of_zero_points(const ChannelQuantizers& q) {
  constexpr int kBlock = 128;
  std::int64_t total = 0;
  for (int begin = 0; begin < q.channels; begin += kBlock) {
    std::int32_t sum = 0;
    for (int c = begin; c < std::min(q.channels, begin + kBlock); ++c)
      sum += static_cast<std::int32_t>(q.multiple[c] * static_cast<float>(q.copies[c]) * q.zero[c]);
    total += sum;
  }
  return total;
}

/// Codes of the extra slots in `count` rows of memory from `place` on.
void Linear::repeat(const ExecContext& context, const CodedInput& input, std::int64_t place, int count) {
  context.kernels->repeat_codes(input.natural + place * input.stride, input.stride, count, input.extra_order,
                                input.extra_slots, input.extra + place * input.extra_lda, input.extra_lda);
}

Linear::CodedInput Linear::take_input(ExecContext& context, int rows, int parts, bool by_rows) const {
  CodedInput input;
  input.rows = rows;
  input.parts = parts;
  input.q = take_quantizers(plan_->input, in_, context.arena);
  input.form = form_of(plan_->input, in_);
  input.range = code_range(input.form, *plan_);
  const bool natural = input.in_natural_order();
  const int threads = context.threads(), slots = natural ? round_up(in_, kernels::kGroupAlign) : in_;
  // Below 32 rows a thread's register blocks would be half empty.
  const bool split = by_rows && natural && packed_for_ == context.kernels && threads > 1 && rows >= 32 * threads;
  input.segment_rows = std::max(1, split ? (rows + threads - 1) / threads : rows);
  // Rows that start at whole cache lines, an odd number of them apart so that they share no cache set, are read faster.
  const int lines = round_up(in_, 64) / 64;
  input.stride = natural ? 64 * (lines | 1) : in_;
  const std::int64_t before = natural ? kZeroRows : 0;
  const auto r = static_cast<std::size_t>(rows);
  const auto bytes = static_cast<std::size_t>((rows + before * input.segments()) * input.stride);
  input.natural = context.arena.take<std::uint8_t>(bytes) + before * input.stride;
  for (int t = 0; slots != in_ && t < rows; ++t)
    std::fill_n(input.natural + input.offset(t) + in_, slots - in_, std::uint8_t{0});
  if (input.q.multiples != nullptr && col_zero_needed_) {
    const std::size_t count = r * static_cast<std::size_t>(threads);
    input.sums = context.arena.take<std::int32_t>(count);
    std::fill_n(input.sums, count, 0);
  }
  return input;
}

/// Codes of columns [begin, begin + cols) of rows [row, row + rows); x points at the first of them.
void Linear::code_columns(const ExecContext& context, CodedInput& input, const float* x, std::int64_t ldx, int row,
                          int rows, int begin, int cols, int thread) const {
  const ChannelQuantizers& q = input.q;
  for (int end = row + rows; row < end;) {
    const int height = std::min(end, (row / input.segment_rows + 1) * input.segment_rows) - row;  // of this segment
    const std::int64_t at = input.offset(row) + begin;
    if (q.multiples == nullptr) {
      context.kernels->quantize_channels({x, ldx, height, cols}, {q.inv_scale + begin, q.zero + begin, q.q_max},
                                         input.natural + at, input.stride);
    } else {
      const bool all_ones =
          plan_->input.from_image || (input.in_natural_order() && slot_multiple(plan_->input.bits) == 1);
      context.kernels->quantize_multiples(
          {x, ldx, height, cols}, {q.inv_scale + begin, q.zero + begin, q.q_max},
          all_ones ? nullptr : q.multiple + begin, input.form, input.natural + at, input.stride,
          input.sums == nullptr ? nullptr : input.sums + std::int64_t{thread} * input.rows + row);
    }
    row += height;
    x += height * ldx;
  }
}

/// natural -> codes in group order, once all channels have their quantizers.
void Linear::order_codes(ExecContext& context, CodedInput& input, int rows) const {
  ChannelQuantizers& q = input.q;
  order_slots(q, context.kernels->group_align, context.arena);
  input.lda = q.slots;
  input.codes = context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(q.slots));
  float* row_sum = q.multiples == nullptr ? input.row_sum : nullptr;
  context.parallel_for(rows, 16, [&](std::int64_t b, std::int64_t e, int) {
    context.kernels->permute_codes(input.natural + b * in_, in_, static_cast<int>(e - b),
                                   {q.order, q.slots, q.slot_zero, q.group_end, q.groups, q.group_scale},
                                   input.codes + b * q.slots, q.slots, row_sum == nullptr ? nullptr : row_sum + b);
  });
}

/// Natural order as one group, the slots of channels that are counted more than once and the rows of zero-points: all
/// that is known when the channels have their quantizers. The codes themselves may come later.
void Linear::lay_out_slots(ExecContext& context, CodedInput& input) const {
  const WorkTimer timer(context, Work::kPermute);
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
  take_extra_slots(context, input);
  if (input.extra_slots == 0 && std::all_of(q.zero, q.zero + in_, [](float z) { return z == 0.0f; })) return;
  input.zero_rows = true;
  const std::int64_t stride = input.stride;
  const auto zeros = static_cast<std::size_t>(kZeroRows * stride);
  std::uint8_t* first = input.natural - zeros;
  std::fill_n(first, zeros, std::uint8_t{0});
  context.kernels->zero_rows(q.zero, q.multiple, in_, first, stride);
  for (int t = 0; t < input.rows; t += input.segment_rows) {
    if (t > 0) std::copy_n(first, zeros, input.natural + input.offset(t) - zeros);
    if (input.extra_slots > 0) repeat(context, input, input.place(t) - kZeroRows, kZeroRows);
  }
}

/// The channels that are counted more than once, once all of them have their quantizers.
void Linear::take_extra_slots(ExecContext& context, CodedInput& input) const {
  const ChannelQuantizers& q = input.q;
  int count = 0;
  for (int c = 0; c < in_; ++c) count += q.copies[c] - 1;
  if (count == 0) return;
  const int align = kernels::extra_align(*context.kernels, round_up(in_, kernels::kGroupAlign));
  input.extra_slots = round_up(count, align);
  input.extra_order = context.arena.take<std::int32_t>(static_cast<std::size_t>(input.extra_slots) + 1);
  std::int32_t* next = input.extra_order;
  for (int c = 0; c < in_; ++c) {
    *next = c;
    next += q.copies[c] > 1;  // no branch where channels are counted once or twice
    for (int i = 2; i < q.copies[c]; ++i) *next++ = c;
  }
  std::fill(next, input.extra_order + input.extra_slots, -1);
  input.extra_lda = 64 * (round_up(input.extra_slots, 64) / 64 | 1);
  const std::int64_t rows = input.rows + std::int64_t{kZeroRows} * input.segments();
  input.extra =
      context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows * input.extra_lda)) + kZeroRows * input.extra_lda;
}

/// Their codes in rows [row, row + rows).
void Linear::fill_extra_slots(const ExecContext& context, const CodedInput& input, int row, int rows) const {
  if (input.extra_slots == 0) return;
  for (const int end = row + rows; row < end;) {
    const int height = std::min(end, (row / input.segment_rows + 1) * input.segment_rows) - row;  // of this segment
    repeat(context, input, input.place(row), height);
    row += height;
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

/// |sum of a w| is at most the sum of |a| times the largest |w| ...
bool Linear::sum_fits_int32(double largest_sum) const {
  return largest_sum * static_cast<double>(1 << (plan_->weight.code_bits() - 1)) <= kInt32Limit;
}

/// ... and at most |a| |w| (Cauchy and Schwarz).
bool Linear::norms_fit_int32(double largest_squares) const {
  assert(largest_code_norm_ >= 0.0);
  return std::sqrt(largest_squares) * largest_code_norm_ * 1.000001 <= kInt32Limit;
}

bool Linear::image_fits_int32(const ChannelQuantizers& q) const {
  if (always_fits_int32_) return true;
  const LargestCodes largest = largest_codes(q);
  return sum_fits_int32(largest.sum) || norms_fit_int32(largest.squares);
}

/// What integers need of the weights whatever the image: where the order of codes is always the same one, the panels
/// too.
void Linear::prepare_integer(const kernels::Kernels& kernels, AlignedBuffer<std::int8_t> memory) {
  const CodeForm form = form_of(plan_->input, in_);
  if (has_unit(plan_->input) && !always_fits_int32_ && largest_code_norm_ < 0.0) {
    const auto q_max = static_cast<float>(code_max(plan_->input.bits));
    const ZeroPointLimits limits = zero_point_limits(plan_->input, in_);
    const double largest = plan_->input.from_image ? static_cast<double>(q_max)
                                                   : plan_->input.multiples.back() *
                                                         static_cast<double>(std::max(limits.max, q_max - limits.min));
    always_fits_int32_ = sum_fits_int32(largest * in_);
    if (!always_fits_int32_) {
      largest_code_norm_ = find_largest_code_norm();
      always_fits_int32_ = norms_fit_int32(largest * largest * in_);
    }
  }
  if (packed_for_ == nullptr && (form != CodeForm::kCodes || !needs_channel_ranges(plan_->input)))
    pack_panels(kernels, form, std::move(memory));
}

/// All panels, in natural order or in the one of fixed quantizers.
void Linear::pack_panels(const kernels::Kernels& kernels, kernels::CodeForm form, AlignedBuffer<std::int8_t> memory) {
  const kernels::CodeRange range = code_range(form, *plan_);
  const bool fixed = form == CodeForm::kCodes;
  Arena arena;
  ChannelQuantizers q;
  if (fixed) {
    q = take_quantizers(plan_->input, in_ / taps_, arena, taps_);
    assign_channels(plan_->input, kernels, q, 0, q.channels, nullptr, nullptr);
    q = repeat_taps(q, arena);
    order_slots(q, kernels.group_align, arena);
  } else {
    q.groups = 1;
    q.slots = round_up(in_, kernels::kGroupAlign);
    q.group_end = &q.slots;
    q.order = arena.take<std::int32_t>(static_cast<std::size_t>(q.slots));
    std::iota(q.order, q.order + in_, 0);
    std::fill(q.order + in_, q.order + q.slots, -1);
  }
  panel_bytes_ = (kernels.panel_bytes(q.slots, q.groups, range) + 63) / 64 * 64;
  const auto panels = static_cast<std::size_t>((out_ + kBytePanel - 1) / kBytePanel),
             corrections = static_cast<std::size_t>(q.groups) * kBytePanel;
  byte_panels_ = std::move(memory);
  byte_panels_.resize(panel_bytes_ * panels);
  fixed_corrections_.resize_zero(fixed ? corrections * panels : 0);
  auto* unused = arena.take<std::int32_t>(corrections);  // in natural order zero-points come with the image
  for (std::size_t p = 0; p < panels; ++p) {
    const int n = static_cast<int>(p) * kBytePanel;
    kernels.pack_bytes({plan_->weight.codes.data() + n, out_, std::min(kBytePanel, out_ - n), range},
                       {q.order, q.slots, q.slot_zero, q.group_end, q.groups}, byte_panels_.data() + panel_bytes_ * p,
                       fixed ? fixed_corrections_.data() + corrections * p : unused);
  }
  packed_for_ = &kernels;
}

/// Everything that needs all of the input's codes: group order, sums of rows.
void Linear::finish_codes(ExecContext& context, CodedInput& input, int rows) const {
  const WorkTimer timer(context, Work::kPermute);
  const ChannelQuantizers& q = input.q;
  if (col_zero_needed_) input.row_sum = context.arena.take<float>(static_cast<std::size_t>(rows));
  if (!input.in_natural_order()) order_codes(context, input, rows);
  if (q.multiples == nullptr) return;
  input.fits_int32 = image_fits_int32(q);
  if (input.row_sum == nullptr) return;
  const std::int64_t zeros = sum_of_zero_points(q);
  float* extra = input.row_sum;  // of the extra slots, at most 65536 bytes: exact
  for (int t = 0; t < rows; t += input.segment_rows) {
    const int count = std::min(input.segment_rows, rows - t);
    if (input.extra_slots == 0)
      std::fill_n(extra + t, count, 0.0f);
    else
      context.kernels->code_sums(input.extra + input.place(t) * input.extra_lda, input.extra_lda, count,
                                 input.extra_slots, 0, extra + t);
  }
  for (int t = 0; t < rows; ++t) {
    std::int64_t sum = static_cast<std::int64_t>(extra[t]) - zeros;
    for (int thread = 0; thread < context.threads(); ++thread) sum += input.sums[std::int64_t{thread} * rows + t];
    input.row_sum[t] = static_cast<float>(sum) * *q.image_scale;  // in units, as the product's sums
  }
}

/// Asks for the weights of the panel with which `thread` will begin, while pieces [begin, end) of the `count` pieces of
/// work before it are done, which the threads share evenly; those of the other panels are asked for by byte_gemm.
void Linear::fetch_first_panel(const ExecContext& context, const CodedInput& input, int thread, std::int64_t begin,
                               std::int64_t end, std::int64_t count) const {
  const std::int64_t threads = context.threads();
  const std::int64_t panel =
      input.segments() > 1 ? 0 : (out_ / input.parts + kBytePanel - 1) / kBytePanel * thread / threads;
  const bool packed = packed_for_ == context.kernels;
  const auto bytes = static_cast<std::int64_t>(panel_bytes_), lines = packed ? bytes / 64 : in_,
             stride = packed ? 64 : std::int64_t{out_};
  const void* first = packed ? static_cast<const void*>(byte_panels_.data() + panel * bytes)
                             : plan_->weight.codes.data() + panel * kBytePanel;
  const auto line_at = [&](std::int64_t piece) {
    return std::clamp<std::int64_t>(lines * (piece * threads - thread * count) / count, 0, lines);
  };
  for (std::int64_t i = line_at(begin); i < line_at(end); ++i)
    __builtin_prefetch(static_cast<const char*>(first) + i * stride, 0, 2);
}

/// Quantizes a whole input whose values exist. `parts` as in multiply(); `by_rows`: threads had better share its rows
/// than the weights.
Linear::CodedInput Linear::code_input(ExecContext& context, const float* x, int rows, ChannelRange range, int parts,
                                      bool by_rows) const {
  const WorkTimer timer(context, Work::kQuantize);
  if (needs_channel_ranges(plan_->input) && !range) {
    range = take_channel_range(context, in_);
    channel_range(context, x, in_, rows, in_, range);
  }
  CodedInput input = take_input(context, rows, parts, by_rows);
  assign_channels(plan_->input, *context.kernels, input.q, 0, in_, range.mn, range.mx);
  fit_image(plan_->input, *context.kernels, input.q, range.mn, range.mx);
  code_rows(context, input, x, rows);
  return input;
}

/// All codes of an input whose channels have their quantizers, and what is made of them.
void Linear::code_rows(ExecContext& context, CodedInput& input, const float* x, int rows) const {
  if (input.in_natural_order()) lay_out_slots(context, input);
  context.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int thread) {
    constexpr std::int64_t kRows = 16;
    for (std::int64_t b = begin; b < end; b += kRows) {
      const std::int64_t e = std::min(end, b + kRows);
      fetch_first_panel(context, input, thread, b, e, rows);
      code_columns(context, input, x + b * in_, in_, static_cast<int>(b), static_cast<int>(e - b), 0, in_, thread);
    }
    fill_extra_slots(context, input, static_cast<int>(begin), static_cast<int>(end - begin));
  });
  finish_codes(context, input, rows);
}

}  // namespace igq
