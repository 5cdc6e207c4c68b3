// Packing of byte panels with 256-bit operations, for the layouts of generic/byte_tile.h: [part][slots /
// step][column][step] with steps of four bytes, or of two 16-bit codes where products are made from 16 bits (kWide).
#pragma once

#include "kernels/generic/row_reader.h"
#include "kernels/x86/simd256.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

template <int kPartColumns, bool kWide>
struct Pack256 {
  static constexpr int kStep = kWide ? 2 : 4;
  static constexpr int kVectors = kPartColumns / 8;  ///< 8 columns of a step fill one vector
  static constexpr int kParts = kBytePanel / kPartColumns;

  /// Where the vector of columns [8 j, 8 j + 8) of a step goes.
  static char* at(char* panel, int slots, int step, int j) {
    const std::int64_t part_step = static_cast<std::int64_t>(j / kVectors) * (slots / kStep) + step;
    return panel + (part_step * kVectors + j % kVectors) * 32;
  }

  /// The 16 columns from 16 j on of the step that has `slot`.
  static char* line(char* panel, int slots, int slot, int j) { return at(panel, slots, slot / kStep, 2 * j); }

  static std::size_t panel_bytes(int slots, int /*groups*/) {
    return static_cast<std::size_t>(slots) * kBytePanel * (kWide ? 2 : 1);
  }

  static void pack(const PanelSource& from, const SlotGroups& groups, char* panel, std::int32_t* corrections) {
    const std::int8_t* w = from.w;
    const std::int64_t ldw = from.ldw;
    const std::int32_t* order = groups.order;
    const int slots = groups.slots;
    RowReader reader(from);
    for (int k = 0; k < slots; k += 4) {
      // Rows come in any order, which no hardware prefetcher follows.
      if (k + kAhead + 4 <= slots)
        for (int i = 0; i < 4; ++i) {
          const std::int32_t ahead = order[k + kAhead + i];
          _mm_prefetch(reinterpret_cast<const char*>(w + (ahead > 0 ? ahead : 0) * ldw), _MM_HINT_T0);
        }
      const std::int8_t* rows[4];
      for (int i = 0; i < 4; ++i) rows[i] = reader.row(order[k + i], i);
      for (int j = 0; j < kBytePanel / 8; j += 4) {
        if constexpr (kWide) {
          interleave_pair(rows[0] + 8 * j, rows[1] + 8 * j, panel, slots, k / 2, j);
          interleave_pair(rows[2] + 8 * j, rows[3] + 8 * j, panel, slots, k / 2 + 1, j);
        } else {
          const std::int8_t* columns[4] = {rows[0] + 8 * j, rows[1] + 8 * j, rows[2] + 8 * j, rows[3] + 8 * j};
          interleave_quad(columns, panel, slots, k / 4, j);
        }
      }
    }
    correct(panel, slots, groups.zero, groups.group_end, groups.groups, corrections);
  }

  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              char* panel, std::int32_t* corrections) {
    transpose_codes(from, slots_valid, slots, panel);
    const std::int32_t end = slots;
    correct(panel, slots, zero, &end, 1, corrections);
  }

  /// 32 columns from x and y, those of vectors j to j + 3.
  static void interleave_pair(const std::int8_t* x, const std::int8_t* y, char* panel, int slots, int step, int j) {
    for (int half = 0; half < 2; ++half) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16 * half));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(y + 16 * half));
      Simd256::store(at(panel, slots, step, j + 2 * half), _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)));
      Simd256::store(at(panel, slots, step, j + 2 * half + 1), _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b)));
    }
  }

  static void interleave_quad(const std::int8_t* const* rows, char* panel, int slots, int step, int j) {
    // Four columns (one lane of 32 bits) alternate between the 128-bit halves, because unpacking works within halves.
    const __m256i alternate = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    __m256i x[4];
    for (int i = 0; i < 4; ++i) x[i] = _mm256_permutevar8x32_epi32(Simd256::load(rows[i]), alternate);
    const __m256i low01 = _mm256_unpacklo_epi8(x[0], x[1]), high01 = _mm256_unpackhi_epi8(x[0], x[1]);
    const __m256i low23 = _mm256_unpacklo_epi8(x[2], x[3]), high23 = _mm256_unpackhi_epi8(x[2], x[3]);
    Simd256::store(at(panel, slots, step, j), _mm256_unpacklo_epi16(low01, low23));
    Simd256::store(at(panel, slots, step, j + 1), _mm256_unpackhi_epi16(low01, low23));
    Simd256::store(at(panel, slots, step, j + 2), _mm256_unpacklo_epi16(high01, high23));
    Simd256::store(at(panel, slots, step, j + 3), _mm256_unpackhi_epi16(high01, high23));
  }

  /// w[c][k]: eight columns by eight steps at a time, a transposition of 32-bit lanes.
  static void transpose_codes(const PanelSource& from, int slots_valid, int slots, char* panel) {
    const std::int8_t* w = from.w;
    const std::int64_t ldw = from.ldw;
    const int cols = from.cols;
    constexpr int kBlock = 8 * kStep;  // slots of eight steps
    for (int j = 0; j < kBytePanel / 8; ++j)
      for (int k = 0; k < slots; k += kBlock) {
        alignas(32) static constexpr std::int8_t kZeros[kBlock] = {};
        alignas(32) std::int8_t staging[8][kBlock];
        const std::int8_t* rows[8];
        for (int c = 0; c < 8; ++c) {
          rows[c] = 8 * j + c < cols ? w + (8 * j + c) * ldw + k : kZeros;
          if (k + kBlock <= slots_valid || rows[c] == kZeros) continue;
          for (int i = 0; i < kBlock; ++i) staging[c][i] = i < slots_valid - k ? rows[c][i] : std::int8_t{0};
          rows[c] = staging[c];
        }
        __m256i x[8];
        for (int c = 0; c < 8; ++c) {
          if constexpr (kWide)
            x[c] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[c])));
          else
            x[c] = Simd256::load(rows[c]);
        }
        transpose8(x);
        const int steps = (slots - k) / kStep < 8 ? (slots - k) / kStep : 8;
        for (int i = 0; i < steps; ++i) Simd256::store(at(panel, slots, k / kStep + i, j), x[i]);
      }
  }

  static void transpose8(__m256i (&x)[8]) {
    __m256i y[8];
    for (int i = 0; i < 8; i += 2) {
      y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
      y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
    }
    __m256i z[8];
    for (int i = 0; i < 8; i += 4) {
      z[i] = _mm256_unpacklo_epi64(y[i], y[i + 2]);
      z[i + 1] = _mm256_unpackhi_epi64(y[i], y[i + 2]);
      z[i + 2] = _mm256_unpacklo_epi64(y[i + 1], y[i + 3]);
      z[i + 3] = _mm256_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x20);
      x[i + 4] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x31);
    }
  }

  /// corrections[g][c] = -sum over the group's slots of zero[k] * w[k][c], read from the panel just written.
  static void correct(const char* panel, int slots, const std::int16_t* zero, const std::int32_t* group_end, int groups,
                      std::int32_t* corrections) {
    for (int j = 0; j < kBytePanel / 8; j += 4) {  // sums of 32 columns stay in registers
      int step = 0;
      for (int g = 0; g < groups; ++g) {
        const int end = group_end[g] / kStep;
        __m256i sum[4] = {Simd256::zero(), Simd256::zero(), Simd256::zero(), Simd256::zero()};
        if (zero == nullptr) step = end;
        for (; step < end; ++step) {
          const std::int16_t* z = zero + step * kStep;
          for (int i = 0; i < 4; ++i)
            sum[i] = subtract_products(sum[i], Simd256::load(at(const_cast<char*>(panel), slots, step, j + i)), z);
        }
        for (int i = 0; i < 4; ++i) Simd256::store(corrections + g * kBytePanel + 8 * (j + i), sum[i]);
      }
    }
  }

  static __m256i subtract_products(__m256i sum, __m256i w, const std::int16_t* z) {
    if constexpr (kWide) return Simd256::sub32(sum, Simd256::multiply_words(w, Simd256::broadcast4(z)));
    const __m256i even = _mm256_set1_epi32((z[0] & 0xFFFF) | (static_cast<std::int32_t>(z[2]) * 0x10000));
    const __m256i odd = _mm256_set1_epi32((z[1] & 0xFFFF) | (static_cast<std::int32_t>(z[3]) * 0x10000));
    sum = Simd256::sub32(sum, Simd256::multiply_words(Simd256::even_bytes(w), even));
    return Simd256::sub32(sum, Simd256::multiply_words(Simd256::odd_bytes(w), odd));
  }

 private:
  static constexpr int kAhead = 16;
};

}  // namespace
}  // namespace igq::kernels
