// Codes in the order of a panel and out of packed bits: one at a time, the definition and what the faster versions do
// where a shape does not fit them; and in blocks, over the vectors of an instruction set. Contracts are in table.h.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

inline void permute_one_by_one(const std::uint8_t* codes, std::int64_t ldc, int rows, const SlotGroups& slots,
                               std::uint8_t* out, std::int64_t ldo, float* row_sum) {
  for (std::int64_t t = 0; t < rows; ++t) {
    for (int k = 0; k < slots.slots; ++k)
      out[t * ldo + k] = slots.order[k] >= 0 ? codes[t * ldc + slots.order[k]] : std::uint8_t{0};
    if (row_sum == nullptr) continue;
    float v = 0.0F;
    int k = 0;
    for (int g = 0; g < slots.groups; ++g) {
      std::int32_t s = 0;
      for (; k < slots.group_end[g]; ++k) s += out[t * ldo + k] - (slots.zero != nullptr ? slots.zero[k] : 0);
      v = __builtin_fmaf(static_cast<float>(s), slots.group_scale[g], v);
    }
    row_sum[t] = v;
  }
}

/// Permutation in blocks, for `Blocks` of an instruction set: kRows rows by kBlock channels are transposed, so that a
/// channel is one vector of kRows bytes; then the permutation moves whole vectors on their way back. Blocks has
///   read_block(codes, ldc, count, by_channel)   kRows rows by kBlock channels; rows past `count` repeat the last
///   write_block(by_channel, order, out, ldo, count)
///   sum_rows(by_channel, by_group, zero_sums, count, row_sum)
template <class Blocks>
struct PermuteInBlocks {
  static constexpr int kRows = Blocks::kRows, kBlock = Blocks::kBlock;
  static constexpr int kChannels = 4095;  ///< that the scratch holds, besides a channel of zeros
  static constexpr int kGroups = 256;

  static void repeat(const std::uint8_t* codes, std::int64_t ldc, int rows, const std::int32_t* order, int count,
                     std::uint8_t* out, std::int64_t ldo) noexcept {
    permute(codes, ldc, rows, {order, count, nullptr, nullptr, 0}, out, ldo, nullptr);
  }

  static void permute(const std::uint8_t* codes, std::int64_t ldc, int rows, const SlotGroups& by_group,
                      std::uint8_t* out, std::int64_t ldo, float* row_sum) noexcept {
    const std::int32_t* order = by_group.order;
    const int slots = by_group.slots;
    std::int32_t channels = 0;
    for (int k = 0; k < slots; ++k) channels = order[k] >= channels ? order[k] + 1 : channels;
    if (channels < kBlock || slots < kBlock || channels > kChannels || by_group.groups > kGroups || rows < 4)
      return permute_one_by_one(codes, ldc, rows, by_group, out, ldo, row_sum);

    std::int32_t zero_sums[kGroups];
    for (int g = 0, k = 0; g < by_group.groups && row_sum != nullptr; ++g) {
      zero_sums[g] = 0;
      for (; k < by_group.group_end[g]; ++k) zero_sums[g] += by_group.zero != nullptr ? by_group.zero[k] : 0;
    }
    alignas(64) std::uint8_t scratch[kChannels + 1][kRows];
    for (int r = 0; r < kRows; ++r) scratch[0][r] = 0;
    std::uint8_t(*by_channel)[kRows] = scratch + 1;  // channel -1 is zero: padding
    for (int t = 0; t < rows; t += kRows) {
      // The last block starts earlier and writes some rows again, unless there are too few rows for that. Likewise the
      // last channels and slots.
      const int count = rows < kRows ? rows : kRows;
      const int first = t + kRows <= rows ? t : rows - count;
      for (int c = 0; c < channels; c += kBlock) {
        const int from = c + kBlock <= channels ? c : channels - kBlock;
        Blocks::read_block(codes + first * ldc + from, ldc, count, by_channel + from);
      }
      for (int k = 0; k < slots; k += kBlock) {
        const int from = k + kBlock <= slots ? k : slots - kBlock;
        Blocks::write_block(by_channel, order + from, out + first * ldo + from, ldo, count);
      }
      if (row_sum != nullptr) Blocks::sum_rows(by_channel, by_group, zero_sums, count, row_sum + first);
    }
  }
};

/// Transposes 16x16 elements: x[i] element j <-> x[j] element i. Zip::low and Zip::high interleave the elements of the
/// lower and of the upper halves of two vectors.
template <class Zip, class Vector>
[[gnu::always_inline]] inline void transpose16(Vector (&x)[16]) {
  // Interleaving row i with row i + 8 rotates the (row, column) address by one bit; four times is a transposition.
  for (int round = 0; round < 4; ++round) {
    Vector y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      y[2 * i] = Zip::low(x[i], x[i + 8]);
      y[2 * i + 1] = Zip::high(x[i], x[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) x[i] = y[i];
  }
}

/// Codes [from, count) of unpack_codes.
inline void unpack_one_by_one(const std::uint8_t* packed, std::int64_t from, std::int64_t count, int bits,
                              std::int8_t* codes) {
  const unsigned mask = (1U << bits) - 1U;
  const int middle = 1 << (bits - 1);
  for (std::int64_t i = from; i < count; ++i) {
    const std::int64_t bit = i * bits;
    const int shift = static_cast<int>(bit % 8);
    unsigned window = packed[bit / 8];
    if (shift + bits > 8) window |= static_cast<unsigned>(packed[bit / 8 + 1]) << 8;
    codes[i] = static_cast<std::int8_t>(static_cast<int>((window >> shift) & mask) - middle);
  }
}

}  // namespace
}  // namespace igq::kernels
