// Permutation and unpacking of codes with 256-bit operations.
//
// Permuting the bytes of a row one by one costs a cycle per byte, as much as a sixth of the product it serves. Instead
// sixteen rows are transposed, so that a channel is one vector of 16 bytes; then the permutation moves whole vectors
// on their way through the transposition back.
#pragma once

#include "kernels/generic/codes.h"
#include "kernels/x86/simd256.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// For transpose16 (generic/codes.h): 16x16 bytes in each 128-bit half.
struct Zip256 {
  [[gnu::always_inline]] static __m256i low(__m256i x, __m256i y) { return _mm256_unpacklo_epi8(x, y); }
  [[gnu::always_inline]] static __m256i high(__m256i x, __m256i y) { return _mm256_unpackhi_epi8(x, y); }
};

struct Codes256 {
  static constexpr int kRows = 16, kBlock = 32;

  /// The part of the table that every vector instruction set has from here.
  static void fill(Kernels& table) {
    table.permute_codes = PermuteInBlocks<Codes256>::permute;
    table.repeat_codes = PermuteInBlocks<Codes256>::repeat;
    table.code_sums = code_sums;
    table.offset_codes = offset;
    table.unpack_codes = unpack;
  }

  /// 16 rows by 32 channels into by_channel[0..31][16]; rows past `count` repeat the last.
  static void read_block(const std::uint8_t* codes, std::int64_t ldc, int count, std::uint8_t (*by_channel)[kRows]) {
    __m256i x[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = Simd256::load(codes + (r < count ? r : count - 1) * ldc);
    transpose16<Zip256>(x);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      _mm_store_si128(reinterpret_cast<__m128i*>(by_channel[r]), _mm256_castsi256_si128(x[r]));
      _mm_store_si128(reinterpret_cast<__m128i*>(by_channel[16 + r]), _mm256_extracti128_si256(x[r], 1));
    }
  }

  static void write_block(const std::uint8_t (*by_channel)[kRows], const std::int32_t* order, std::uint8_t* out,
                          std::int64_t ldo, int count) {
    __m256i x[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m128i low = _mm_load_si128(reinterpret_cast<const __m128i*>(by_channel[order[i]]));
      const __m128i high = _mm_load_si128(reinterpret_cast<const __m128i*>(by_channel[order[16 + i]]));
      x[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    transpose16<Zip256>(x);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
      if (r < count) Simd256::store(out + r * ldo, x[r]);
  }

  /// row_sum of sixteen rows at once: codes of a group are summed per row in 16 bits, which 256 codes cannot overflow.
  static void sum_rows(const std::uint8_t (*by_channel)[kRows], const SlotGroups& by_group,
                       const std::int32_t* zero_sums, int count, float* row_sum) {
    const std::int32_t *order = by_group.order, *group_end = by_group.group_end;
    const int groups = by_group.groups;
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    for (int g = 0, k = 0; g < groups; ++g) {
      __m256i low_sum = _mm256_set1_epi32(-zero_sums[g]), high_sum = low_sum;
      while (k < group_end[g]) {
        const int stop = group_end[g] - k < 256 ? group_end[g] : k + 256;
        __m256i sum = _mm256_setzero_si256();
        for (; k < stop; ++k) sum = _mm256_add_epi16(sum, Simd256::load_widened(by_channel[order[k]]));
        low_sum = _mm256_add_epi32(low_sum, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sum)));
        high_sum = _mm256_add_epi32(high_sum, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sum, 1)));
      }
      const __m256 scale = _mm256_set1_ps(by_group.group_scale[g]);
      low = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low_sum), scale, low);
      high = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high_sum), scale, high);
    }
    Simd256::store_first(row_sum, count, low);
    if (count > 8) Simd256::store_first(row_sum + 8, count - 8, high);
  }

  static void code_sums(const std::uint8_t* codes, std::int64_t ldc, int rows, int cols, int zero,
                        float* sums) noexcept {
    for (int t = 0; t < rows; ++t, codes += ldc) {
      __m256i sum = Simd256::zero();  // four sums of 64 bits
      int c = 0;
      for (; c + 32 <= cols; c += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(Simd256::load(codes + c), Simd256::zero()));
      std::int64_t lanes[4];
      Simd256::store(lanes, sum);
      std::int64_t total = lanes[0] + lanes[1] + lanes[2] + lanes[3] - std::int64_t{cols} * zero;
      for (; c < cols; ++c) total += codes[c];
      sums[t] = static_cast<float>(total);
    }
  }

  static void offset(std::uint8_t* codes, std::int64_t count, int offset) noexcept {
    const __m256i by = _mm256_set1_epi8(static_cast<char>(offset));
    std::int64_t i = 0;
    for (; i + 32 <= count; i += 32) Simd256::store(codes + i, _mm256_sub_epi8(Simd256::load(codes + i), by));
    for (; i < count; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] - offset);
  }

  /// Sixteen codes at a time: a shuffle brings the two bytes that hold a code to its 16-bit lane, a multiplication
  /// shifts the code to the top of the lane.
  static void unpack(const std::uint8_t* packed, std::int64_t count, int bits, std::int8_t* codes) noexcept {
    const int middle = 1 << (bits - 1);
    const __m256i offset = _mm256_set1_epi8(static_cast<char>(middle));
    std::int64_t i = 0;
    if (bits == 8) {
      for (; i + 32 <= count; i += 32) Simd256::store(codes + i, _mm256_sub_epi8(Simd256::load(packed + i), offset));
    } else {
      alignas(32) std::int8_t where[2][16];
      alignas(32) std::int16_t factor[16];
      for (int lane = 0; lane < 16; ++lane) {
        const int bit = lane * bits;
        where[lane / 8][lane % 8 * 2] = static_cast<std::int8_t>(bit / 8);
        where[lane / 8][lane % 8 * 2 + 1] = static_cast<std::int8_t>(bit / 8 + 1);
        factor[lane] = static_cast<std::int16_t>(1 << (16 - bits - bit % 8));
      }
      const __m256i shuffle = Simd256::load(where), multiply = Simd256::load(factor);
      const __m128i shift = _mm_cvtsi32_si128(16 - bits);
      const std::int64_t bytes = (count * bits + 7) / 8;
      const auto sixteen = [&](std::int64_t from) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed + from * bits / 8));
        const __m256i both = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(x), shuffle);
        return _mm256_srl_epi16(_mm256_mullo_epi16(both, multiply), shift);
      };
      for (; i + 32 <= count && (i + 16) * bits / 8 + 16 <= bytes; i += 32) {
        const __m256i two = _mm256_packus_epi16(sixteen(i), sixteen(i + 16));
        Simd256::store(codes + i, _mm256_sub_epi8(_mm256_permute4x64_epi64(two, 0xD8), offset));
      }
    }
    unpack_one_by_one(packed, i, count, bits, codes);
  }
};

}  // namespace
}  // namespace igq::kernels
