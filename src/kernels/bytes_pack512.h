// Packing of byte panels with 512-bit operations for the dot instruction: [part of 32 columns][slots / 4][column][4].
//
// The corrections for zero-points are summed while a step's vectors are in registers, so that the panel is not read
// again. Zero-points that are the same all over a group (every grouping with fixed bounds) cost one product per vector:
// sum zero * w = zero * sum w. Others cost three, on zero + 768 in two unsigned bytes:
//   sum zero * w = sum low * w + 256 * sum high * w - 768 * sum w.
#pragma once

#include "kernels/bytes_pack256.h"
#include "kernels/bytes_simd512.h"
#include "kernels/kernels.h"

namespace igq::kernels {
namespace {

template <class Simd>
struct Pack512 {
  static constexpr int kZeroOffset = 768;
  static constexpr int kVectors = kBytePanel / 16;  ///< of 16 columns

  /// Where the vector of columns [16 j, 16 j + 16) of slots [k, k + 4) goes.
  static char* at(char* panel, int slots, int k, int j) {
    return panel + static_cast<std::int64_t>(j / 2) * slots * 32 + std::int64_t{k} * 32 + j % 2 * 64;
  }

  /// Four rows of 64 columns as four vectors. Two rows of 32 columns share a vector; one permutation brings the four
  /// columns of each 128-bit lane together, a shuffle within lanes puts the four slots of a column side by side.
  [[gnu::always_inline]] static void interleave(const std::int8_t* const (&rows)[4], __m512i (&x)[kVectors]) {
    const __m512i low = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(4));
    const __m512i by_column =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i r[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) r[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + 32 * half));
      const __m512i x01 = _mm512_inserti64x4(_mm512_castsi256_si512(r[0]), r[1], 1);
      const __m512i x23 = _mm512_inserti64x4(_mm512_castsi256_si512(r[2]), r[3], 1);
      x[2 * half] = _mm512_shuffle_epi8(_mm512_permutex2var_epi32(x01, low, x23), by_column);
      x[2 * half + 1] = _mm512_shuffle_epi8(_mm512_permutex2var_epi32(x01, high, x23), by_column);
    }
  }

  /// One group's slots [begin, end) of a panel; `kVarying` when its zero-points differ.
  template <bool kVarying>
  static void group(RowReader& reader, const std::int32_t* order, int slots, const std::int16_t* zero, int begin, int end,
                    char* panel, std::int32_t* corrections) {
    __m512i low[kVectors], high[kVectors], sum[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) low[j] = high[j] = sum[j] = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(1);
    for (int k = begin; k < end; k += 4) {
      const std::int8_t* const rows[4] = {reader.row(order[k], 0), reader.row(order[k + 1], 1),
                                          reader.row(order[k + 2], 2), reader.row(order[k + 3], 3)};
      __m512i x[kVectors];
      interleave(rows, x);
      __m512i z_low{}, z_high{};
      if constexpr (kVarying) split_zeros(zero + k, z_low, z_high);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Simd::store(at(panel, slots, k, j), x[j]);
        sum[j] = Simd::dot(sum[j], ones, x[j]);
        if constexpr (kVarying) {
          low[j] = Simd::dot(low[j], z_low, x[j]);
          high[j] = Simd::dot(high[j], z_high, x[j]);
        }
      }
    }
    store_corrections<kVarying>(low, high, sum, zero != nullptr && begin < end ? zero[begin] : 0, corrections);
  }

  template <bool kVarying>
  [[gnu::always_inline]] static void store_corrections(const __m512i (&low)[kVectors], const __m512i (&high)[kVectors],
                                                       const __m512i (&sum)[kVectors], int zero,
                                                       std::int32_t* corrections) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const __m512i offset = _mm512_mullo_epi32(sum[j], _mm512_set1_epi32(kVarying ? kZeroOffset : -zero));
      const __m512i scaled = Simd::add32(low[j], _mm512_slli_epi32(high[j], 8));
      Simd::store(corrections + 16 * j, kVarying ? _mm512_sub_epi32(offset, scaled) : offset);
    }
  }

  /// The low and high bytes of four zero-points plus 768, in every lane.
  static void split_zeros(const std::int16_t* zero, __m512i& low, __m512i& high) {
    const __m128i z = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(zero));
    const __m128i shifted = _mm_add_epi16(z, _mm_set1_epi16(kZeroOffset));
    const __m128i low_bytes = _mm_packus_epi16(_mm_and_si128(shifted, _mm_set1_epi16(255)), _mm_setzero_si128());
    const __m128i high_bytes = _mm_packus_epi16(_mm_srli_epi16(shifted, 8), _mm_setzero_si128());
    low = _mm512_broadcastd_epi32(low_bytes);
    high = _mm512_broadcastd_epi32(high_bytes);
  }

  /// True when slots of the group that are not padding have different zero-points. The first slot never is padding.
  static bool varies(const std::int32_t* order, const std::int16_t* zero, int begin, int end) {
    int different = 0;
    for (int k = begin; k < end; ++k) different |= static_cast<int>(order[k] >= 0) & static_cast<int>(zero[k] != zero[begin]);
    return different != 0;
  }

  static void straight(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots,
                       const std::int16_t* zero, const std::int32_t* group_end, int groups, int cols, char* panel,
                       std::int32_t* corrections) {
    RowReader reader{w, ldw, cols};
    int begin = 0;
    for (int g = 0; g < groups; ++g, corrections += kBytePanel) {
      const int end = group_end[g];
      if (zero != nullptr && varies(order, zero, begin, end))
        group<true>(reader, order, slots, zero, begin, end, panel, corrections);
      else
        group<false>(reader, order, slots, zero, begin, end, panel, corrections);
      begin = end;
    }
  }

  /// corrections of one group, from a panel written before; `zero` is the same in all slots.
  static void correct(char* panel, int slots, const std::int16_t* zero, std::int32_t* corrections) {
    __m512i low[kVectors], high[kVectors], sum[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) low[j] = high[j] = sum[j] = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(1);
    for (int k = 0; zero != nullptr && k < slots; k += 4) {
      __m512i z_low{}, z_high{};
      split_zeros(zero + k, z_low, z_high);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const __m512i x = Simd::load(at(panel, slots, k, j));
        low[j] = Simd::dot(low[j], z_low, x);
        high[j] = Simd::dot(high[j], z_high, x);
        sum[j] = Simd::dot(sum[j], ones, x);
      }
    }
    store_corrections<true>(low, high, sum, 0, corrections);
  }
};

}  // namespace
}  // namespace igq::kernels
