// Permutation and unpacking of codes with 128-bit vectors, as x86/bytes_codes256.h does it: sixteen rows are transposed
// so that a channel is one vector of 16 bytes, and the permutation moves whole vectors on the way back.
#pragma once

#include "kernels/arm/simd_neon.h"
#include "kernels/generic/codes.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

struct CodesNeon {
  static constexpr int kRows = 16, kBlock = 16;

  static void fill(Kernels& table) {
    table.permute_codes = PermuteInBlocks<CodesNeon>::permute;
    table.repeat_codes = PermuteInBlocks<CodesNeon>::repeat;
    table.code_sums = code_sums;
    table.offset_codes = offset;
    table.unpack_codes = unpack;
  }

  /// 16 rows by 16 channels into by_channel[0..15][16]; rows past `count` repeat the last.
  static void read_block(const std::uint8_t* codes, std::int64_t ldc, int count, std::uint8_t (*by_channel)[kRows]) {
    uint8x16_t x[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = vld1q_u8(codes + (r < count ? r : count - 1) * ldc);
    transpose16<ZipNeon>(x);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) vst1q_u8(by_channel[r], x[r]);
  }

  static void write_block(const std::uint8_t (*by_channel)[kRows], const std::int32_t* order, std::uint8_t* out,
                          std::int64_t ldo, int count) {
    uint8x16_t x[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kBlock; ++i) x[i] = vld1q_u8(by_channel[order[i]]);
    transpose16<ZipNeon>(x);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
      if (r < count) vst1q_u8(out + r * ldo, x[r]);
  }

  /// row_sum of sixteen rows at once: codes of a group are summed per row in 16 bits, which 256 codes cannot overflow.
  static void sum_rows(const std::uint8_t (*by_channel)[kRows], const SlotGroups& by_group,
                       const std::int32_t* zero_sums, int count, float* row_sum) {
    const std::int32_t *order = by_group.order, *group_end = by_group.group_end;
    float32x4_t total[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (int g = 0, k = 0; g < by_group.groups; ++g) {
      int32x4_t sum[4];
      for (int32x4_t& s : sum) s = vdupq_n_s32(-zero_sums[g]);
      while (k < group_end[g]) {
        const int stop = group_end[g] - k < 256 ? group_end[g] : k + 256;
        uint16x8_t low = vdupq_n_u16(0), high = low;
        for (; k < stop; ++k) {
          const uint8x16_t channel = vld1q_u8(by_channel[order[k]]);
          low = vaddw_u8(low, vget_low_u8(channel));
          high = vaddw_high_u8(high, channel);
        }
        sum[0] = vaddq_s32(sum[0], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))));
        sum[1] = vaddq_s32(sum[1], vreinterpretq_s32_u32(vmovl_high_u16(low)));
        sum[2] = vaddq_s32(sum[2], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))));
        sum[3] = vaddq_s32(sum[3], vreinterpretq_s32_u32(vmovl_high_u16(high)));
      }
      const float32x4_t scale = vdupq_n_f32(by_group.group_scale[g]);
      for (int i = 0; i < 4; ++i) total[i] = vfmaq_f32(total[i], vcvtq_f32_s32(sum[i]), scale);
    }
    for (int i = 0; i < 4 && 4 * i < count; ++i) SimdNeon::store_first(row_sum + 4 * i, count - 4 * i, total[i]);
  }

  static void code_sums(const std::uint8_t* codes, std::int64_t ldc, int rows, int cols, int zero,
                        float* sums) noexcept {
    for (int t = 0; t < rows; ++t, codes += ldc) {
      uint32x4_t sum = vdupq_n_u32(0);
      int c = 0;
      for (; c + 16 <= cols; c += 16) sum = vpadalq_u16(sum, vpaddlq_u8(vld1q_u8(codes + c)));
      std::int64_t total = std::int64_t{vaddvq_u32(sum)} - std::int64_t{cols} * zero;
      for (; c < cols; ++c) total += codes[c];
      sums[t] = static_cast<float>(total);
    }
  }

  static void offset(std::uint8_t* codes, std::int64_t count, int offset) noexcept {
    const uint8x16_t by = vdupq_n_u8(static_cast<std::uint8_t>(offset));
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16) vst1q_u8(codes + i, vsubq_u8(vld1q_u8(codes + i), by));
    for (; i < count; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] - offset);
  }

  /// Sixteen codes at a time: a table lookup brings the two bytes that hold a code to its 16-bit lane, and every lane
  /// is shifted by its own count.
  static void unpack(const std::uint8_t* packed, std::int64_t count, int bits, std::int8_t* codes) noexcept {
    const std::int64_t bytes = (count * bits + 7) / 8;
    std::uint8_t where[2][16];
    std::int16_t shift[2][8];
    for (int lane = 0; lane < 16; ++lane) {
      const int bit = lane * bits;
      where[lane / 8][lane % 8 * 2] = static_cast<std::uint8_t>(bit / 8);
      where[lane / 8][lane % 8 * 2 + 1] = static_cast<std::uint8_t>(bit / 8 + 1);
      shift[lane / 8][lane % 8] = static_cast<std::int16_t>(-(bit % 8));
    }
    const uint8x16_t middle = vdupq_n_u8(static_cast<std::uint8_t>(1 << (bits - 1)));
    const uint16x8_t mask = vdupq_n_u16(static_cast<std::uint16_t>((1 << bits) - 1));
    std::int64_t i = 0;
    for (; i + 16 <= count && i * bits / 8 + 16 <= bytes; i += 16) {
      const uint8x16_t x = vld1q_u8(packed + i * bits / 8);
      uint8x8_t half[2];
      for (int h = 0; h < 2; ++h) {
        const uint16x8_t both = vreinterpretq_u16_u8(vqtbl1q_u8(x, vld1q_u8(where[h])));
        half[h] = vmovn_u16(vandq_u16(vshlq_u16(both, vld1q_s16(shift[h])), mask));
      }
      vst1q_s8(codes + i, vreinterpretq_s8_u8(vsubq_u8(vcombine_u8(half[0], half[1]), middle)));
    }
    unpack_one_by_one(packed, i, count, bits, codes);
  }
};

}  // namespace
}  // namespace igq::kernels
