// Packing of byte panels with 512-bit operations for the dot instruction: [part of 32 columns][slots / 4][column][4].
//
// The corrections for zero-points (ZeroSums) are summed while a step's vectors are in registers, so that the panel is
// not read again. Zero-points that are the same all over a group (every grouping with fixed bounds) cost one product
// per vector: sum zero * w = zero * sum w. Others cost three, on zero + kZeroOffset in two unsigned bytes:
//   sum zero * w = sum low * w + 256 * sum high * w - kZeroOffset * sum w.
#pragma once

#include "kernels/x86/bytes_pack256.h"
#include "kernels/x86/simd512.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// How a group's zero-points enter its corrections.
enum class Zeros { kNone, kSame, kVarying };

/// The corrections of one vector of 16 columns, -sum zero * w, summed while weights pass by.
template <class Simd, Zeros kZeros>
class ZeroSums {
 public:
  static constexpr int kOffset = static_cast<int>(kZeroOffset);

  /// The zero-points of slots [slot, slot + 4), once for all vectors of columns; `zero` may be null where there are
  /// none.
  struct Quad {
    __m512i low{}, high{};  ///< bytes of the zero-points plus kOffset, in every lane

    Quad(const std::int16_t* zero, int slot) {
      if constexpr (kZeros == Zeros::kVarying) {
        const __m128i z = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(zero + slot));
        const __m128i shifted = _mm_add_epi16(z, _mm_set1_epi16(static_cast<short>(kOffset)));
        const __m128i low_bytes = _mm_packus_epi16(_mm_and_si128(shifted, _mm_set1_epi16(255)), _mm_setzero_si128());
        const __m128i high_bytes = _mm_packus_epi16(_mm_srli_epi16(shifted, 8), _mm_setzero_si128());
        low = _mm512_broadcastd_epi32(low_bytes);
        high = _mm512_broadcastd_epi32(high_bytes);
      }
    }
  };

  [[gnu::always_inline]] void add(const Quad& zero, __m512i w) {
    if constexpr (kZeros == Zeros::kNone) return;
    sum_ = Simd::dot(sum_, _mm512_set1_epi8(1), w);
    if constexpr (kZeros == Zeros::kVarying) {
      low_ = Simd::dot(low_, zero.low, w);
      high_ = Simd::dot(high_, zero.high, w);
    }
  }
  /// `zero` is that of all slots where they are the same.
  [[gnu::always_inline]] void store(int zero, std::int32_t* corrections) const {
    const __m512i offset = _mm512_mullo_epi32(sum_, _mm512_set1_epi32(kZeros == Zeros::kVarying ? kOffset : -zero));
    const __m512i scaled = Simd::add32(low_, _mm512_slli_epi32(high_, 8));
    Simd::store(corrections, kZeros == Zeros::kVarying ? _mm512_sub_epi32(offset, scaled) : offset);
  }

 private:
  __m512i low_ = _mm512_setzero_si512(), high_ = _mm512_setzero_si512(), sum_ = _mm512_setzero_si512();
};

template <class Simd>
struct Pack512 {
  static constexpr int kVectors = kBytePanel / 16;  ///< of 16 columns

  /// Where the vector of columns [16 j, 16 j + 16) of slots [k, k + 4) goes.
  static char* at(char* panel, int slots, int k, int j) {
    return panel + static_cast<std::int64_t>(j / 2) * slots * 32 + std::int64_t{k} * 32 + j % 2 * 64;
  }

  static constexpr int kStep = 4;
  static char* line(char* panel, int slots, int slot, int j) { return at(panel, slots, slot / 4 * 4, j); }

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

  static std::size_t panel_bytes(int slots, int /*groups*/) { return static_cast<std::size_t>(slots) * kBytePanel; }

  /// One group's slots [begin, end) of a panel.
  template <Zeros kZeros>
  static void group(RowReader& reader, const SlotGroups& groups, int begin, int end, char* panel,
                    std::int32_t* corrections) {
    const std::int32_t* order = groups.order;
    const std::int16_t* zero = groups.zero;
    const int slots = groups.slots;
    ZeroSums<Simd, kZeros> sums[kVectors];
    for (int k = begin; k < end; k += 4) {
      __m512i x[kVectors];
      read_quad(reader, order + k, x);
      const typename ZeroSums<Simd, kZeros>::Quad quad(zero, k);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Simd::store(at(panel, slots, k, j), x[j]);
        sums[j].add(quad, x[j]);
      }
    }
    store_corrections(sums, zero, begin, end, corrections);
  }

  /// Four slots of 64 columns from the matrix.
  [[gnu::always_inline]] static void read_quad(RowReader& reader, const std::int32_t* order, __m512i (&x)[kVectors]) {
    const std::int8_t* const rows[4] = {reader.row(order[0], 0), reader.row(order[1], 1), reader.row(order[2], 2),
                                        reader.row(order[3], 3)};
    interleave(rows, x);
  }

  template <Zeros kZeros>
  [[gnu::always_inline]] static void store_corrections(const ZeroSums<Simd, kZeros> (&sums)[kVectors],
                                                       const std::int16_t* zero, int begin, int end,
                                                       std::int32_t* corrections) {
    const int same = kZeros == Zeros::kSame && begin < end ? zero[begin] : 0;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[j].store(same, corrections + 16 * j);
  }

  /// The first slot of a group never is padding; zero-points of padding do not count.
  static Zeros zeros_of(const std::int32_t* order, const std::int16_t* zero, int begin, int end) {
    if (zero == nullptr) return Zeros::kNone;
    int different = 0;
    for (int k = begin; k < end; ++k)
      different |= static_cast<int>(order[k] >= 0) & static_cast<int>(zero[k] != zero[begin]);
    return different != 0 ? Zeros::kVarying : Zeros::kSame;
  }

  /// pack(begin, end, corrections) as template on the kind of zero-points, for every group.
  template <class PackGroup>
  [[gnu::always_inline]] static void each_group(const SlotGroups& groups, std::int32_t* corrections,
                                                const PackGroup& pack) {
    int begin = 0;
    for (int g = 0; g < groups.groups; ++g, corrections += kBytePanel) {
      const int end = groups.group_end[g];
      switch (zeros_of(groups.order, groups.zero, begin, end)) {
        case Zeros::kNone:
          pack.template operator()<Zeros::kNone>(begin, end, corrections);
          break;
        case Zeros::kSame:
          pack.template operator()<Zeros::kSame>(begin, end, corrections);
          break;
        case Zeros::kVarying:
          pack.template operator()<Zeros::kVarying>(begin, end, corrections);
          break;
      }
      begin = end;
    }
  }

  static void pack(const PanelSource& from, const SlotGroups& groups, char* panel, std::int32_t* corrections) {
    RowReader reader(from);
    each_group(groups, corrections, [&]<Zeros kZeros>(int begin, int end, std::int32_t* group_corrections) {
      group<kZeros>(reader, groups, begin, end, panel, group_corrections);
    });
  }

  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              char* panel, std::int32_t* corrections) {
    Pack256<32, false>::transpose_codes(from, slots_valid, slots, panel);
    correct(panel, slots, zero, corrections);
  }

  /// corrections of one group, from a panel written before.
  static void correct(char* panel, int slots, const std::int16_t* zero, std::int32_t* corrections) {
    ZeroSums<Simd, Zeros::kVarying> sums[kVectors];
    for (int k = 0; zero != nullptr && k < slots; k += 4) {
      const typename ZeroSums<Simd, Zeros::kVarying>::Quad quad(zero, k);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[j].add(quad, Simd::load(at(panel, slots, k, j)));
    }
    store_corrections(sums, zero, 0, slots, corrections);
  }
};

}  // namespace
}  // namespace igq::kernels
