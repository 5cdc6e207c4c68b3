// Panels of weights for products of bytes on 64-bit ARM: [part of kColumns columns][step][column][kStep slots], each
// group padded with zero weights to whole steps, so that a step never reaches into the next group.
//
// kSigned: the product takes signed codes, which are codes less 128 (spec: XOR 0x80), so that every column's sum falls
// short by 128 times the sum of its weights in the group. These sums lie behind the parts, [group][kBytePanel].
#pragma once

#include "kernels/arm/simd_neon.h"
#include "kernels/generic/codes.h"
#include "kernels/generic/row_reader.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

template <int kStepSlots, int kPartColumns, bool kSignedCodes>
struct PanelNeon {
  static constexpr int kStep = kStepSlots, kColumns = kPartColumns, kParts = kBytePanel / kColumns;
  static constexpr bool kSigned = kSignedCodes;
  static constexpr int kStepBytes = kStep * kColumns;

  static constexpr int steps_of(int slots) { return (slots + kStep - 1) / kStep; }
  static int steps_of(const std::int32_t* group_end, int groups) {
    int steps = 0;
    for (int g = 0; g < groups; ++g) steps += steps_of(group_end[g] - (g > 0 ? group_end[g - 1] : 0));
    return steps;
  }
  static std::int64_t bytes_of_parts(int steps) { return std::int64_t{steps} * kStep * kBytePanel; }
  /// The most that so many slots take, however groups divide them: each has a multiple of kGroupAlign.
  static std::size_t panel_bytes(int slots, int groups, CodeRange) noexcept {
    const std::int64_t sums = kSigned ? std::int64_t{groups} * kBytePanel * 4 : 0;
    return static_cast<std::size_t>(bytes_of_parts((slots + groups * (kStep - kGroupAlign)) / kStep) + sums);
  }
  static char* part_of(void* panel, int steps, int part) {
    return static_cast<char*>(panel) + std::int64_t{part} * steps * kStepBytes;
  }
  static const char* part_of(const void* panel, int steps, int part) {
    return static_cast<const char*>(panel) + std::int64_t{part} * steps * kStepBytes;
  }
  /// Sums of weights of the panel's first group.
  static const char* sums_of(const void* panel, int steps) {
    return static_cast<const char*>(panel) + bytes_of_parts(steps);
  }

  static void pack(const PanelSource& from, const SlotGroups& slots, void* panel, std::int32_t* corrections) noexcept {
    const int steps = steps_of(slots.group_end, slots.groups);
    RowReaderOf<kStep> reader(from);
    auto* sums = static_cast<char*>(panel) + bytes_of_parts(steps);
    int step = 0, begin = 0;
    for (int g = 0; g < slots.groups; ++g, corrections += kBytePanel) {
      Columns correction, sum;
      for (int k = begin; k < slots.group_end[g]; k += kStep, ++step) {
        const std::int8_t* rows[kStep];
        for (int i = 0; i < kStep; ++i) rows[i] = reader.row(k + i < slots.group_end[g] ? slots.order[k + i] : -1, i);
        interleave(rows, static_cast<char*>(panel) + std::int64_t{step} * kStepBytes, std::int64_t{steps} * kStepBytes);
        if constexpr (kSigned)
          for (int i = 0; i < kStep; ++i) sum.add(rows[i], 1);
        const int count = slots.group_end[g] - k < kStep ? slots.group_end[g] - k : kStep;
        for (int i = 0; i < count && slots.zero != nullptr; ++i)
          correction.add(rows[i], static_cast<std::int16_t>(-slots.zero[k + i]));
      }
      correction.store(corrections);
      if constexpr (kSigned) sum.store(sums + std::int64_t{g} * kBytePanel * 4);
      begin = slots.group_end[g];
    }
  }

  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              void* panel, std::int32_t* corrections) noexcept {
    const int steps = steps_of(slots);
    auto* sums = static_cast<char*>(panel) + bytes_of_parts(steps);
    for (int c = 0; c < kBytePanel; ++c) {
      const std::int8_t* w = from.w + c * from.ldw;
      const int valid = c < from.cols ? slots_valid : 0;
      char* out = part_of(panel, steps, c / kColumns) + c % kColumns * kStep;
      for (int k = 0; k < slots; k += kStep, out += kStepBytes) {
        const int count = valid - k;
        if (count >= kStep) {
          __builtin_memcpy(out, w + k, kStep);
        } else {
          for (int i = 0; i < kStep; ++i) out[i] = i < count ? static_cast<char>(w[k + i]) : char{0};
        }
      }
      std::int32_t correction = 0, sum = 0;
      for (int k = 0; k < valid; ++k) {
        sum += w[k];
        if (zero != nullptr) correction -= zero[k] * w[k];
      }
      corrections[c] = correction;
      if constexpr (kSigned) __builtin_memcpy(sums + 4 * c, &sum, 4);
    }
  }

  static void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange,
                           void* out) noexcept {
    const int from_steps = steps_of(slots), to_steps = steps_of(count);
    alignas(16) std::int32_t sums[kBytePanel] = {};
    for (int step = 0; step < to_steps; ++step) {
      // Which bytes of an old step's vectors go where: within every column's kStep bytes, or nowhere.
      const char* from[kStep];
      std::uint8_t control[kStep][16];
      for (int i = 0; i < kStep; ++i) {
        const int k = step * kStep + i, slot = k < count ? order[k] : -1;
        from[i] = static_cast<const char*>(panel) + std::int64_t{slot < 0 ? 0 : slot / kStep} * kStepBytes;
        for (int b = 0; b < 16; ++b)
          control[i][b] = static_cast<std::uint8_t>(slot >= 0 && b % kStep == i ? b - i + slot % kStep : 255);
      }
      for (int part = 0; part < kParts; ++part) {
        const std::int64_t at = std::int64_t{part} * from_steps * kStepBytes;
        char* to = part_of(out, to_steps, part) + std::int64_t{step} * kStepBytes;
        for (int v = 0; v < kStepBytes; v += 16) {
          uint8x16_t x = vdupq_n_u8(0);
          for (int i = 0; i < kStep; ++i)
            x = vqtbx1q_u8(x, vld1q_u8(reinterpret_cast<const std::uint8_t*>(from[i] + at + v)), vld1q_u8(control[i]));
          vst1q_u8(reinterpret_cast<std::uint8_t*>(to + v), x);
          if constexpr (kSigned) add_columns(x, sums + part * kColumns + v / kStep);
        }
      }
    }
    if constexpr (kSigned) __builtin_memcpy(static_cast<char*>(out) + bytes_of_parts(to_steps), sums, 4 * kBytePanel);
  }

 private:
  /// One number for every column of the panel.
  struct Columns {
    int32x4_t sum[kBytePanel / 4] = {};

    /// sum += factor * row
    void add(const std::int8_t* row, std::int16_t factor) {
#pragma GCC unroll 4
      for (int c = 0; c < kBytePanel; c += 16) {
        const int8x16_t w = vld1q_s8(row + c);
        const int16x8_t low = vmovl_s8(vget_low_s8(w)), high = vmovl_high_s8(w);
        sum[c / 4] = vmlal_n_s16(sum[c / 4], vget_low_s16(low), factor);
        sum[c / 4 + 1] = vmlal_high_n_s16(sum[c / 4 + 1], low, factor);
        sum[c / 4 + 2] = vmlal_n_s16(sum[c / 4 + 2], vget_low_s16(high), factor);
        sum[c / 4 + 3] = vmlal_high_n_s16(sum[c / 4 + 3], high, factor);
      }
    }
    void store(void* to) const {
      for (int i = 0; i < kBytePanel / 4; ++i) SimdNeon::store(static_cast<std::int32_t*>(to) + 4 * i, sum[i]);
    }
  };

  /// sums[column] += the column's bytes in 16 bytes of a step.
  static void add_columns(uint8x16_t step, std::int32_t* sums) {
    const int16x8_t pairs = vpaddlq_s8(vreinterpretq_s8_u8(step));
    const int32x4_t quads = vpaddlq_s16(pairs);
    if constexpr (kStep == 4) {
      vst1q_s32(sums, vaddq_s32(vld1q_s32(sums), quads));
    } else if constexpr (kStep == 8) {
      vst1_s32(sums, vadd_s32(vld1_s32(sums), vmovn_s64(vpaddlq_s32(quads))));
    } else {
      *sums += vaddvq_s32(quads);
    }
  }

  /// One step of every part: rows[i][c] becomes slot i of column c. `to` is the step in the first part.
  static void interleave(const std::int8_t* const (&rows)[kStep], char* to, std::int64_t part_bytes) {
    for (int c = 0; c < kBytePanel; c += 16) {
      std::uint8_t all[16 * kStep];
      if constexpr (kStep == 4) {
        int8x16x4_t quad;
        for (int i = 0; i < 4; ++i) quad.val[i] = vld1q_s8(rows[i] + c);
        vst4q_s8(reinterpret_cast<std::int8_t*>(all), quad);
      } else if constexpr (kStep == 8) {
        // Row i with row i + 4, then 2 apart, then neighbours: three rounds of transpose16.
        uint8x16_t x[8], y[8];
        for (int i = 0; i < 8; ++i) x[i] = vld1q_u8(reinterpret_cast<const std::uint8_t*>(rows[i] + c));
        for (int half = 0; half < 2; ++half) {
          for (int i = 0; i < 4; ++i) y[i] = half == 0 ? vzip1q_u8(x[i], x[i + 4]) : vzip2q_u8(x[i], x[i + 4]);
          const uint8x16_t even[2] = {vzip1q_u8(y[0], y[2]), vzip2q_u8(y[0], y[2])},
                           odd[2] = {vzip1q_u8(y[1], y[3]), vzip2q_u8(y[1], y[3])};
          for (int q = 0; q < 2; ++q) {
            vst1q_u8(all + 64 * half + 32 * q, vzip1q_u8(even[q], odd[q]));
            vst1q_u8(all + 64 * half + 32 * q + 16, vzip2q_u8(even[q], odd[q]));
          }
        }
      } else {
        uint8x16_t x[16];
        for (int i = 0; i < 16; ++i) x[i] = vld1q_u8(reinterpret_cast<const std::uint8_t*>(rows[i] + c));
        transpose16<ZipNeon>(x);
        for (int i = 0; i < 16; ++i) vst1q_u8(all + 16 * i, x[i]);
      }
      for (int part = 0; part < 16 / kColumns; ++part)
        __builtin_memcpy(to + (c / kColumns + part) * part_bytes, all + part * kStepBytes, kStepBytes);
    }
  }
};

}  // namespace
}  // namespace igq::kernels
