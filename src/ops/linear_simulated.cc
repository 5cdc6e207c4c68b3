// Simulation of fully connected layers: the codes and the sums of integer execution, added up as integers held in
// floats (exact_product.h), and the same chain of roundings after them. So simulation and integers have the same bits,
// though nothing here knows of bytes, slots and rows of zero-points.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "ops/exact_product.h"
#include "ops/linear.h"

namespace igq {
namespace {

using kernels::kFloatPanel;

constexpr int kColumns = 64;  // outputs that are made together

/// The channels of a layer group by group, ascending within one; one group where sums are added up in units.
struct GroupOrder {
  int groups = 1;
  std::int32_t* channel = nullptr;  ///< [in]
  std::int32_t* end = nullptr;      ///< [groups]
};

GroupOrder order_channels(const ChannelQuantizers& q, bool unit, Arena& arena) {
  GroupOrder order;
  order.groups = unit ? 1 : q.groups;
  order.channel = arena.take<std::int32_t>(static_cast<std::size_t>(q.channels));
  order.end = arena.take<std::int32_t>(static_cast<std::size_t>(order.groups));
  std::fill_n(order.end, order.groups, 0);
  for (int c = 0; c < q.channels; ++c) ++order.end[unit ? 0 : q.group[c]];
  int next = 0;
  for (int g = 0; g < order.groups; ++g) {
    const int count = order.end[g];
    order.end[g] = next;  // where the group's next channel goes
    next += count;
  }
  for (int c = 0; c < q.channels; ++c) order.channel[order.end[unit ? 0 : q.group[c]]++] = c;
  return order;
}

/// The rows of a product whose sums are integers: codes times multiples, less zero-points, in group order. A channel
/// whose products with weights a float might not hold has two terms, its values modulo 2^12 and the rest, whose
/// products are so many zeros shorter.
struct IntegerRows {
  int terms = 0;
  std::int32_t* channel = nullptr;  ///< [terms]
  bool* rest = nullptr;             ///< [terms], whether it is the rest of the term before
  float* a = nullptr;               ///< [rows][terms]
  float* largest = nullptr;         ///< [terms], of |a|
  float* row_sum = nullptr;         ///< [rows], as ByteGemm::row_sum
};
constexpr float kLow = 4096.0f;

}  // namespace

void Linear::forward_simulated(ExecContext& context, const float* x, int rows, float* y, ChannelRange range) const {
  const ArenaScope scope(context.arena);
  simulate(context, quantizers(context, x, rows, range), x, rows, y);
}

void Linear::simulate(ExecContext& context, const ChannelQuantizers& q, const float* x, int rows, float* y) const {
  const ArenaScope scope(context.arena);
  const kernels::Kernels& kernels = *context.kernels;
  const auto r = static_cast<std::size_t>(rows), in = static_cast<std::size_t>(in_);
  if (plan_->weight.bits == 0) {  // no integers: quantized inputs as floats
    float* x_hat = context.arena.take<float>(r * in);
    context.parallel_for(rows, 8, [&](std::int64_t b, std::int64_t e, int) {
      std::copy(x + b * in_, x + e * in_, x_hat + b * in_);
      kernels.fake_quantize_channels({x_hat + b * in_, in_, static_cast<int>(e - b), in_}, q.scale,
                                     {q.inv_scale, q.zero, q.q_max});
    });
    return forward_float(context, x_hat, rows, packed_.data(), y);
  }

  const bool unit = has_unit(plan_->input);
  const GroupOrder order = order_channels(q, unit, context.arena);
  Arena& arena = context.arena;
  IntegerRows integers{0,       arena.take<std::int32_t>(2 * in), arena.take<bool>(2 * in),
                       nullptr, arena.take<float>(2 * in),        arena.take<float>(r)};
  // A channel's multiple of the unit.
  float* multiple = context.arena.take<float>(in);
  for (int c = 0; c < in_; ++c) {
    multiple[c] = unit ? q.multiple[c] * static_cast<float>(q.copies[c]) : 1.0f;
    assert(std::abs(q.zero[c]) * multiple[c] < 0x1p23f);
  }
  for (int i = 0; i < in_; ++i) {
    const std::int32_t c = order.channel[i];
    const float largest =
        multiple[c] * std::max(std::abs(q.zero[c]), std::abs(static_cast<float>(q.q_max) - q.zero[c]));
    const bool two = static_cast<double>(largest) * kLargestWeight > kExactSum;
    assert(!two || unit);
    for (int part = 0; part < (two ? 2 : 1); ++part, ++integers.terms) {
      integers.channel[integers.terms] = c;
      integers.rest[integers.terms] = part == 1;
      integers.largest[integers.terms] = two && part == 0 ? kLow : largest;
    }
  }
  const int terms = integers.terms;
  if (unit) order.end[0] = terms;
  integers.a = arena.take<float>(r * static_cast<std::size_t>(terms));
  auto* all_codes = context.arena.take<std::uint8_t>(r * in);
  context.parallel_for(rows, 8, [&](std::int64_t b, std::int64_t e, int) {
    kernels.quantize_channels({x + b * in_, in_, static_cast<int>(e - b), in_}, {q.inv_scale, q.zero, q.q_max},
                              all_codes + b * in_, in_);
    for (std::int64_t t = b; t < e; ++t) {
      const std::uint8_t* codes = all_codes + t * in_;
      float sum = 0.0f;
      int i = 0;
      for (int g = 0; g < order.groups; ++g) {
        double group_sum = 0.0;
        for (; i < order.end[g]; ++i) {
          const std::int32_t c = integers.channel[i];
          float a = multiple[c] * (static_cast<float>(codes[c]) - q.zero[c]);
          if (integers.rest[i])
            a -= integers.a[t * terms + i - 1];
          else if (i + 1 < terms && integers.rest[i + 1])
            a = std::fmod(a, kLow);
          integers.a[t * terms + i] = a;
          group_sum += static_cast<double>(a);
        }
        sum = unit ? static_cast<float>(group_sum) * *q.image_scale
                   : std::fma(static_cast<float>(group_sum), q.group_scale[g], sum);
      }
      integers.row_sum[t] = sum;
    }
  });

  const int threads = context.threads();
  const std::size_t block = r * kColumns;
  const std::size_t packed_floats = static_cast<std::size_t>(terms) * kColumns;
  float* all_packed = context.arena.take<float>(packed_floats * static_cast<std::size_t>(threads));
  float* all_parts = context.arena.take<float>(2 * block * static_cast<std::size_t>(threads));
  auto* all_sums = context.arena.take<double>(block * static_cast<std::size_t>(threads));
  const std::int8_t* weights = plan_->weight.codes.data();
  context.parallel_for((out_ + kColumns - 1) / kColumns, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float *packed = all_packed + static_cast<std::ptrdiff_t>(packed_floats) * thread,
          *part = all_parts + static_cast<std::ptrdiff_t>(2 * block) * thread, *v = part + block;
    double* sums = all_sums + static_cast<std::ptrdiff_t>(block) * thread;
    for (std::int64_t p = begin; p < end; ++p) {
      const std::int64_t n0 = p * kColumns;
      const int cols = static_cast<int>(std::min<std::int64_t>(kColumns, out_ - n0));
      std::fill_n(v, block, 0.0f);
      int k = 0;
      for (int g = 0; g < order.groups; ++g) {
        const int first = k;
        std::fill_n(sums, order.end[g] - first > 1 ? block : 0, 0.0);
        while (k < order.end[g]) {
          // As many channels as a float holds the sum of.
          const int start = k;
          for (double largest = 0.0; k < order.end[g]; ++k) {
            largest += kLargestWeight * static_cast<double>(integers.largest[k]);
            if (largest > kExactSum && k > start) break;
          }
          gather(weights, integers.channel + start, k - start, n0, cols, packed);
          kernels.gemm_f32({.x = integers.a + start,
                            .ldx = terms,
                            .rows = rows,
                            .k = k - start,
                            .packed = packed,
                            .panel_begin = 0,
                            .panel_end = (cols + kFloatPanel - 1) / kFloatPanel,
                            .n = cols,
                            .bias = nullptr,
                            .accumulate = false,
                            .y = part,
                            .ldy = kColumns});
          if (start == first && k == order.end[g]) break;
          for (std::size_t i = 0; i < block; ++i) sums[i] += static_cast<double>(part[i]);
          if (k == order.end[g])
            for (std::size_t i = 0; i < block; ++i) part[i] = static_cast<float>(sums[i]);
        }
        if (k == first) continue;
        float scale[kColumns];
        std::fill_n(scale, kColumns, unit ? *q.image_scale : q.group_scale[g]);
        kernels.add_residual(v, kColumns, part, kColumns, rows, cols, scale);  // v = fma(sum, scale, v)
      }
      float panel[kColumns];
      const ExactOutputs outputs{col_zero_needed_ ? integers.row_sum : nullptr, nullptr, col_zero_.data() + n0,
                                 col_scale_.data() + n0, bias_.empty() ? nullptr : bias_.data() + n0};
      finish_exact(kernels, outputs, v, kColumns, rows, cols, panel, y + n0, out_);
    }
  });
}

/// packed [cols / 16][count][16] = the weight codes of so many channels and outputs from n0 on.
void Linear::gather(const std::int8_t* weights, const std::int32_t* channel, int count, std::int64_t n0, int cols,
                    float* packed) const {
  for (int c0 = 0; c0 < cols; c0 += kFloatPanel)
    for (int i = 0; i < count; ++i, packed += kFloatPanel) {
      const std::int8_t* from = weights + std::int64_t{channel[i]} * out_ + n0 + c0;
      const int some = std::min(kFloatPanel, cols - c0);
      for (int c = 0; c < some; ++c) packed[c] = static_cast<float>(from[c]);
      for (int c = some; c < kFloatPanel; ++c) packed[c] = 0.0f;
    }
}

}  // namespace igq
