#include "tests/kernels/byte_case.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/aligned_buffer.h"

namespace igq::test {
using namespace kernels;

namespace {

int pick(Random& random, int low, int high, Fill fill) {
  switch (fill) {
    case Fill::kLowest:
      return low;
    case Fill::kHighest:
      return high;
    case Fill::kEnds:
      return random.below(2) != 0 ? high : low;
    case Fill::kRandom:
      break;
  }
  return low + static_cast<int>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}

std::vector<float> floats(Random& random, std::size_t count) {
  std::vector<float> result(count);
  for (float& f : result) f = static_cast<float>(random.normal());
  return result;
}

}  // namespace

Case::Case(Shape s, std::uint64_t seed) : shape(std::move(s)) {
  Random random(seed);
  groups = static_cast<int>(shape.group_channels.size());
  channels = std::accumulate(shape.group_channels.begin(), shape.group_channels.end(), 0);
  range = {(1 << shape.a_bits) - 1, 1 << (shape.w_bits - 1)};
  if (shape.zero_rows) range.a_max = 255;  // which their bytes reach
  const auto rows = static_cast<std::size_t>(shape.rows);
  const int w_max = (1 << (shape.w_bits - 1)) - 1;

  std::vector<std::int32_t> shuffled(static_cast<std::size_t>(channels));
  std::iota(shuffled.begin(), shuffled.end(), 0);
  for (std::size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
  std::size_t next = 0;
  for (int count : shape.group_channels) {
    for (int i = 0; i < count; ++i) {
      order.push_back(shuffled[next++]);
      zero.push_back(static_cast<std::int16_t>(pick(random, shape.zero_low, shape.zero_high, shape.fill)));
    }
    while (order.size() % kGroupAlign != 0) {
      order.push_back(-1);
      zero.push_back(0);
    }
    group_end.push_back(static_cast<std::int32_t>(order.size()));
  }
  slots = static_cast<int>(order.size());

  // Exact strides: reading past a row or a buffer's end is a fault the address sanitizer sees.
  ldc = channels;
  ldw = kFirstColumn + shape.cols;
  lda = slots + 4;
  ldy = shape.cols + 5;
  codes.resize(rows * static_cast<std::size_t>(ldc));
  for (auto& code : codes) code = static_cast<std::uint8_t>(pick(random, 0, range.a_max, shape.fill));
  for (int i = 0; i < shape.extra; ++i)
    extra.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(slots))));
  std::sort(extra.begin(), extra.end());
  for (int g = 0; shape.multiples && g < groups; ++g)
    multiples.push_back(1 + static_cast<std::int32_t>(random.below(255)));
  w.resize(static_cast<std::size_t>(channels * ldw));
  for (auto& code : w) code = static_cast<std::int8_t>(pick(random, -range.w_abs_max, w_max, shape.fill));
  wt.resize(static_cast<std::size_t>(shape.cols) * static_cast<std::size_t>(channels));
  for (int c = 0; c < shape.cols; ++c)
    for (int k = 0; k < channels; ++k)
      wt[static_cast<std::size_t>(c * channels + k)] = w[static_cast<std::size_t>(k * ldw + kFirstColumn + c)];
  group_scale = floats(random, static_cast<std::size_t>(groups));
  row_scale = floats(random, rows);
  col_zero = floats(random, static_cast<std::size_t>(shape.cols));
  col_scale = floats(random, static_cast<std::size_t>(shape.cols));
  bias = floats(random, static_cast<std::size_t>(shape.cols));
  gamma = floats(random, static_cast<std::size_t>(shape.cols));
}

Result run(const Kernels& kernels, const Case& c) {
  const auto rows = static_cast<std::size_t>(c.shape.rows);
  const auto groups = static_cast<std::size_t>(c.groups);
  Result r;
  const std::size_t before = (c.shape.zero_rows ? kZeroRows : 0) * static_cast<std::size_t>(c.lda);
  r.a.assign(before + rows * static_cast<std::size_t>(c.lda), 0xA5);
  r.row_sum.assign(rows, -1.0F);
  r.corrections.assign(groups * kBytePanel, -1);
  r.sums.assign(groups * rows * kBytePanel, -1);
  r.y.assign(rows * static_cast<std::size_t>(c.ldy), -7.0F);
  kernels.permute_codes(c.codes.data(), c.ldc, c.shape.rows,
                        {c.order.data(), c.slots, c.zeros(), c.group_end.data(), c.groups, c.group_scale.data()},
                        r.a.data() + before, c.lda, c.shape.row_sum ? r.row_sum.data() : nullptr);
  // A zero-point that 3 divides stands for a multiple of 3.
  for (std::size_t k = 0; k < before / kZeroRows; ++k) {
    const int zero = k < c.zero.size() && c.order[k] >= 0 ? c.zero[k] : 0, m = zero % 3 == 0 ? 3 : 1;
    const bool channel = k < c.order.size() && c.order[k] >= 0;
    const auto shifted = static_cast<std::uint32_t>(m * (zero / m + static_cast<int>(kZeroOffset)));
    for (std::size_t byte = 0; byte < 3; ++byte)
      r.a[byte * before / kZeroRows + k] = static_cast<std::uint8_t>(channel ? shifted >> (8 * byte) : 0);
    r.a[3 * before / kZeroRows + k] = static_cast<std::uint8_t>(channel ? m : 0);
  }
  AlignedBuffer<std::byte> panel(kernels.panel_bytes(c.slots, c.groups, c.range));
  const std::int8_t* w =
      c.w.empty() ? nullptr
                  : c.w.data() + Case::kFirstColumn;  // nothing lies behind a null pointer, not even undefined
  kernels.pack_bytes({w, c.ldw, c.shape.cols, c.range},
                     {c.order.data(), c.slots, before > 0 ? nullptr : c.zeros(), c.group_end.data(), c.groups},
                     panel.data(), r.corrections.data());
  // Extra slots in an exact buffer of their own, as many as the table wants.
  const auto align = static_cast<std::size_t>(extra_align(kernels, std::max(c.slots, 1)));
  const std::size_t extra_slots = (c.extra.size() + align - 1) / align * align,
                    all_rows = rows + (c.shape.zero_rows ? kZeroRows : 0);
  std::vector<std::int32_t> extra_order = c.extra;
  extra_order.resize(extra_slots, -1);
  std::vector<std::uint8_t> extra(all_rows * extra_slots, 0x5A);
  AlignedBuffer<std::byte> extra_panel(
      extra_slots == 0 ? 0 : kernels.panel_bytes(static_cast<int>(extra_slots), 1, c.range));
  if (extra_slots > 0) {
    kernels.repeat_codes(r.a.data(), c.lda, static_cast<int>(all_rows), extra_order.data(),
                         static_cast<int>(extra_slots), extra.data(), static_cast<std::int64_t>(extra_slots));
    kernels.repeat_slots(panel.data(), c.slots, extra_order.data(), static_cast<int>(extra_slots), c.range,
                         extra_panel.data());
  }
  for (std::size_t t = 0; t < all_rows; ++t)
    for (std::size_t i = 0; i < extra_slots; ++i) {
      if (i < c.extra.size())
        r.extra.push_back(extra[t * extra_slots + i]);
      else if (extra[t * extra_slots + i] != 0)
        r.extra.push_back(0x5A);  // padding that is none
    }
  ByteGemm g{};
  if (extra_slots > 0) {
    g.extra = extra.data() + (all_rows - rows) * extra_slots;
    g.extra_lda = static_cast<std::int64_t>(extra_slots);
    g.extra_panel = extra_panel.data();
    g.extra_slots = static_cast<int>(extra_slots);
  }
  g.a = r.a.data() + before;
  g.zero_rows = c.shape.zero_rows;
  g.lda = c.lda;
  g.rows = c.shape.rows;
  g.panel = panel.data();
  g.corrections = r.corrections.data();
  g.groups = c.groups;
  g.group_end = c.group_end.data();
  g.group_scale = c.group_scale.data();
  g.multiples = c.multiples.empty() ? nullptr : c.multiples.data();
  g.row_scale = c.shape.row_scale ? c.row_scale.data() : nullptr;
  g.row_sum = c.shape.row_sum ? r.row_sum.data() : nullptr;
  g.col_zero = c.shape.row_sum ? c.col_zero.data() : nullptr;
  g.col_scale = c.col_scale.data();
  g.bias = c.shape.bias ? c.bias.data() : nullptr;
  g.add = c.shape.add;
  g.gamma = c.shape.gamma ? c.gamma.data() : nullptr;
  g.y = r.y.data();
  g.ldy = c.ldy;
  g.cols = c.shape.cols;
  g.range = c.range;
  g.sums = r.sums.data();
  kernels.byte_gemm(g);
  // Without `sums` the outputs are the same.
  const std::vector<float> with_sums = std::exchange(r.y, std::vector<float>(r.y.size(), -7.0F));
  g.sums = nullptr;
  g.y = r.y.data();
  kernels.byte_gemm(g);
  r.sums_change_outputs = with_sums != r.y;
  return r;
}

std::vector<std::int64_t> oracle_sums(const Case& c) {
  std::vector<std::int64_t> sums, more(static_cast<std::size_t>(c.slots), 0);
  for (const std::int32_t slot : c.extra)
    ++more[static_cast<std::size_t>(slot)];  // whose zero-points are subtracted as rows only
  int k = 0;
  for (int g = 0; g < c.groups; ++g) {
    const int end = c.group_end[static_cast<std::size_t>(g)];
    for (int t = 0; t < c.shape.rows; ++t)
      for (int n = 0; n < kBytePanel; ++n) {
        std::int64_t s = 0;
        for (int i = k; i < end; ++i) {
          const std::int64_t channel = c.order[static_cast<std::size_t>(i)];
          if (channel < 0 || n >= c.shape.cols) continue;
          const auto at = static_cast<std::size_t>(t * c.ldc + channel);
          const std::int64_t code = c.codes[at], zero = c.shape.zero ? c.zero[static_cast<std::size_t>(i)] : 0;
          const std::int64_t counted =
              code - zero + more[static_cast<std::size_t>(i)] * (code - (c.shape.zero_rows ? zero : 0));
          s += counted * c.w[static_cast<std::size_t>(channel * c.ldw + Case::kFirstColumn + n)];
        }
        sums.push_back(s);
      }
    k = end;
  }
  return sums;
}

}  // namespace igq::test
