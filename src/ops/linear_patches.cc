// Convolutions as integer products: the map of an image is quantized once, and rows of patches are put together from
// its codes, some hundred at a time, while the packed weights are multiplied with them. All taps of a channel share its
// quantizer; what a patch has outside the map is the code of zero, so zero stays exactly zero.
#include <algorithm>
#include <cassert>

#include "ops/linear_codes.h"

namespace igq {

using kernels::ByteGemm;
using kernels::kBytePanel;
using kernels::kZeroRows;

namespace {

/// Rows of patches whose codes stay in the second-level cache while every panel is multiplied with them.
constexpr std::int64_t kBlockRows = 128;
/// Of simulation, which gathers the weights anew for every block.
constexpr std::int64_t kSimulatedRows = 1024;

}  // namespace

/// Codes of a whole map, and all that blocks of patches share.
struct Linear::MapCodes {
  ChannelQuantizers channels, all;       ///< of the map's channels; of (tap, channel)
  std::uint8_t* codes = nullptr;         ///< [pixels][channels]
  std::uint8_t* outside = nullptr;       ///< [channels], the codes of zero
  std::int64_t zeros = 0;                ///< sum_of_zero_points(all)
  const std::uint8_t* panels = nullptr;  ///< weights, panel_bytes apart, and their corrections
  std::size_t panel_bytes = 0, correction_count = 0;
  const std::int32_t* corrections = nullptr;
  std::uint8_t* extra_panels = nullptr;  ///< of the extra slots, extra_bytes apart
  std::size_t extra_bytes = 0;
};

void Linear::forward_patches(ExecContext& context, const float* x, int pixels, std::int64_t rows,
                             const Patches& patches, const kernels::Activation* activation, float* y) const {
  assert(plan_ != nullptr && plan_->weight.bits != 0 && plan_->input.grouping != Grouping::kFloat);
  const ArenaScope scope(context.arena);
  const int channels = in_ / taps_;
  ChannelQuantizers q = take_quantizers(plan_->input, channels, context.arena, taps_);
  {
    const WorkTimer timer(context, Work::kQuantize);
    ChannelRange range;
    if (needs_channel_ranges(plan_->input)) {
      range = take_channel_range(context, channels);
      channel_range(context, x, channels, pixels, channels, range);
      for (int c = 0; taps_ > 1 && c < channels; ++c) {  // patches hold zeros
        range.mn[c] = std::min(range.mn[c], 0.0f);
        range.mx[c] = std::max(range.mx[c], 0.0f);
      }
    }
    assign_channels(plan_->input, *context.kernels, q, 0, channels, range.mn, range.mx);
    fit_image(plan_->input, *context.kernels, q, range.mn, range.mx);
  }
  if (context.execution_of(site_) == Execution::kInteger)
    return multiply_patches(context, x, pixels, rows, patches, q, activation, y);
  const ChannelQuantizers all = repeat_taps(q, context.arena);
  float* zeros = context.arena.take<float>(static_cast<std::size_t>(channels));
  std::fill_n(zeros, channels, 0.0f);
  float* block = context.arena.take<float>(static_cast<std::size_t>(std::min(rows, kSimulatedRows)) *
                                           static_cast<std::size_t>(in_));
  for (std::int64_t begin = 0; begin < rows; begin += kSimulatedRows) {
    const std::int64_t end = std::min(rows, begin + kSimulatedRows);
    patches.gather(x, begin, end, zeros, block, in_);
    const int count = static_cast<int>(end - begin);
    simulate(context, all, block, count, y + begin * out_);
    if (activation != nullptr)
      context.kernels->activate(*activation, y + begin * out_, out_, count, out_, nullptr, nullptr);
  }
}

/// Room for the codes of one thread's block; in natural order with its rows of zero-points and extra slots.
Linear::CodedInput Linear::take_block(ExecContext& context, const ChannelQuantizers& all, int rows) const {
  CodedInput input = take_input(context, rows, 1, false);
  input.q = all;
  input.sums = nullptr;
  if (input.in_natural_order()) {
    lay_out_slots(context, input);
  } else {
    order_slots(input.q, context.kernels->group_align, context.arena);
    input.lda = input.q.slots;
    input.codes =
        context.arena.take<std::uint8_t>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(input.q.slots));
  }
  if (col_zero_needed_) input.row_sum = context.arena.take<float>(static_cast<std::size_t>(rows));
  if (all.multiples != nullptr) input.fits_int32 = image_fits_int32(all);
  return input;
}

void Linear::multiply_patches(ExecContext& context, const float* x, int pixels, std::int64_t rows,
                              const Patches& patches, const ChannelQuantizers& channels,
                              const kernels::Activation* activation, float* y) const {
  const kernels::Kernels& kernels = *context.kernels;
  Arena& arena = context.arena;
  const int count = channels.channels, threads = context.threads();
  // Blocks of equal height, at least one for every thread.
  const std::int64_t blocks = std::min(rows, std::max<std::int64_t>((rows + kBlockRows - 1) / kBlockRows, threads));
  const int height = static_cast<int>((rows + blocks - 1) / blocks);
  MapCodes map;
  map.channels = channels;
  map.all = repeat_taps(channels, arena);
  // The extra slots and the order of groups are the same in all blocks.
  auto* inputs = arena.take<CodedInput>(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) new (inputs + t) CodedInput(take_block(context, map.all, height));
  const CodedInput& first = inputs[0];
  const bool natural = first.in_natural_order(), packed = packed_for_ == &kernels;
  const ChannelQuantizers& q = first.q;
  {
    const WorkTimer timer(context, Work::kQuantize);
    map.codes = arena.take<std::uint8_t>(static_cast<std::size_t>(pixels) * static_cast<std::size_t>(count));
    map.outside = arena.take<std::uint8_t>(static_cast<std::size_t>(count));
    const bool products =
        natural && channels.multiple != nullptr && slot_multiple(plan_->input.bits) > 1 && !plan_->input.from_image;
    const kernels::Quantizers quantizers{channels.inv_scale, channels.zero, channels.q_max};
    const auto quantize = [&](const float* from, int some, std::uint8_t* to) {
      if (products)
        kernels.quantize_multiples({from, count, some, count}, quantizers, channels.multiple, first.form, to, count,
                                   nullptr);
      else
        kernels.quantize_channels({from, count, some, count}, quantizers, to, count);
    };
    context.parallel_for(pixels, 64, [&](std::int64_t begin, std::int64_t end, int) {
      quantize(x + begin * count, static_cast<int>(end - begin), map.codes + begin * count);
    });
    float* zeros = arena.take<float>(static_cast<std::size_t>(count));
    std::fill_n(zeros, count, 0.0f);
    quantize(zeros, 1, map.outside);
    if (col_zero_needed_ && channels.multiples != nullptr) map.zeros = sum_of_zero_points(map.all);
  }
  const std::int64_t panel_count = (out_ + kBytePanel - 1) / kBytePanel;
  const auto panels = static_cast<std::size_t>(panel_count);
  map.correction_count = static_cast<std::size_t>(q.groups) * kBytePanel;
  const WorkTimer timer(context, Work::kByteGemm);
  if (packed) {
    map.panels = reinterpret_cast<const std::uint8_t*>(byte_panels_.data());
    map.panel_bytes = panel_bytes_;
    map.corrections = natural ? nullptr : fixed_corrections_.data();
  } else {
    const WorkTimer pack_timer(context, Work::kPackPanel);
    map.panel_bytes = (kernels.panel_bytes(q.slots, q.groups, first.range) + 63) / 64 * 64;
    auto* packing = arena.take<std::uint8_t>(map.panel_bytes * panels);
    auto* corrections = arena.take<std::int32_t>(map.correction_count * panels);
    context.parallel_for(panel_count, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t p = begin; p < end; ++p) {
        const int n = static_cast<int>(p) * kBytePanel;
        kernels.pack_bytes({plan_->weight.codes.data() + n, out_, std::min(kBytePanel, out_ - n), first.range},
                           {q.order, q.slots, natural ? nullptr : q.slot_zero, q.group_end, q.groups},
                           packing + map.panel_bytes * static_cast<std::size_t>(p),
                           corrections + map.correction_count * static_cast<std::size_t>(p));
      }
    });
    map.panels = packing;
    map.corrections = natural ? nullptr : corrections;
  }
  if (first.extra_slots > 0) {
    const WorkTimer pack_timer(context, Work::kPackPanel);
    map.extra_bytes = (kernels.panel_bytes(first.extra_slots, 1, first.range) + 63) / 64 * 64;
    map.extra_panels = arena.take<std::uint8_t>(map.extra_bytes * panels);
    context.parallel_for(panel_count, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (auto p = static_cast<std::size_t>(begin); p < static_cast<std::size_t>(end); ++p)
        kernels.repeat_slots(map.panels + map.panel_bytes * p, q.slots, first.extra_order, first.extra_slots,
                             first.range, map.extra_panels + map.extra_bytes * p);
    });
  }
  const std::size_t wide_count =
      first.fits_int32 ? 0
                       : static_cast<std::size_t>(q.groups) * static_cast<std::size_t>(kZeroRows + height) * kBytePanel;
  auto* all_wide = arena.take<std::int32_t>(wide_count * static_cast<std::size_t>(threads));
  if (natural) {
    // What zero-points take from the sums is the same in all blocks.
    const bool once = first.zero_rows && first.fits_int32;
    auto* corrections = arena.take<std::int32_t>(map.correction_count * panels);
    std::fill_n(corrections, map.correction_count * panels, 0);
    for (std::int64_t p = 0; once && p < panel_count; ++p) {
      const auto at = static_cast<std::size_t>(p);
      ByteGemm gemm = product(first, p * kBytePanel, 0, 0, {y, out_});
      gemm.panel = map.panels + map.panel_bytes * at;
      gemm.extra_panel = first.extra_slots > 0 ? map.extra_panels + map.extra_bytes * at : nullptr;
      zero_row_corrections(kernels, gemm, corrections + map.correction_count * at);
    }
    for (int t = 0; once && t < threads; ++t) inputs[t].zero_rows = false;
    map.corrections = corrections;
  }
  context.parallel_for(blocks, 1, [&](std::int64_t begin_block, std::int64_t end_block, int t) {
    CodedInput& input = inputs[t];
    for (std::int64_t block = begin_block; block < end_block; ++block) {
      const std::int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
      const int some = static_cast<int>(end - begin);
      {
        const WorkTimer gather_timer(context, Work::kPermute, t);
        patches.gather(map.codes, begin, end, map.outside, input.natural, input.stride);
        fill_extra_slots(context, input, 0, some);
        if (!natural) {
          const bool sum = input.row_sum != nullptr && q.multiples == nullptr;
          kernels.permute_codes(input.natural, input.stride, some,
                                {input.q.order, q.slots, input.q.slot_zero, input.q.group_end, q.groups, q.group_scale},
                                input.codes, input.lda, sum ? input.row_sum : nullptr);
        }
        if (input.row_sum != nullptr && q.multiples != nullptr) sum_rows(context, input, map.zeros, some);
      }
      for (std::int64_t p = 0; p < panel_count; ++p) {
        const auto at = static_cast<std::size_t>(p);
        ByteGemm gemm = product(input, p * kBytePanel, 0, some, {y + begin * out_ + p * kBytePanel, out_});
        gemm.panel = map.panels + map.panel_bytes * at;
        gemm.extra_panel = first.extra_slots > 0 ? map.extra_panels + map.extra_bytes * at : nullptr;
        gemm.corrections = map.corrections + map.correction_count * at;
        if (input.fits_int32)
          kernels.byte_gemm(gemm);
        else
          multiply_wide(kernels, gemm, all_wide + wide_count * static_cast<std::size_t>(t));
      }
      if (activation != nullptr) kernels.activate(*activation, y + begin * out_, out_, some, out_, nullptr, nullptr);
    }
  });
}

/// row_sum of the block's rows in units: what their codes sum to with their multiples, less the zero-points. Sums of
/// bytes of up to 65,536 slots are exact in float.
void Linear::sum_rows(const ExecContext& context, CodedInput& input, std::int64_t zeros, int rows) const {
  const ChannelQuantizers& q = input.q;
  if (!input.in_natural_order()) {  // codes of other multiples, group by group
    for (int r = 0; r < rows; ++r) {
      std::int64_t sum = -zeros;
      const std::uint8_t* codes = input.natural + r * input.stride;
      for (int c = 0; c < in_; ++c) sum += std::int64_t{codes[c]} * static_cast<std::int64_t>(q.multiple[c]);
      input.row_sum[r] = static_cast<float>(sum) * *q.image_scale;
    }
    return;
  }
  context.kernels->code_sums(input.natural, input.stride, rows, in_, 0, input.row_sum);
  for (int r = 0; r < rows; ++r) {
    float extra = 0.0f;
    if (input.extra_slots > 0)
      context.kernels->code_sums(input.extra + r * input.extra_lda, input.extra_lda, 1, input.extra_slots, 0, &extra);
    const std::int64_t sum = static_cast<std::int64_t>(input.row_sum[r]) + static_cast<std::int64_t>(extra) - zeros;
    input.row_sum[r] = static_cast<float>(sum) * *q.image_scale;
  }
}

}  // namespace igq
