// Packing of byte panels for AMX: the tiles of weights that a product loads, one after the other.
//
// The contraction goes group by group in steps of up to 64 slots; no step spans two groups, so a group's sums are those
// of its own steps. A step reads 64 codes of a row wherever its slots lie in them: what else these 64 codes hold meets
// zero weights. So codes need no padding between groups (rows whose groups start at multiples of 64 are read faster).
// Panels lie as [16 columns][step][quad of slots][column][4].
#pragma once

#include "kernels/x86/bytes_pack512.h"
#include "kernels/x86/tiles_amx.h"

namespace igq::kernels {
namespace {

/// Where the steps of a product lie.
struct AmxSteps {
  int slots, depth;  ///< depth: slots that every step reads

  explicit AmxSteps(int slot_count) : slots(slot_count), depth(slot_count < kTileBytes ? slot_count : kTileBytes) {}
  /// First slot read by the step whose first own slot is k.
  int start(int k) const { return k < slots - depth ? k : slots - depth; }
  std::int64_t tile_bytes() const { return std::int64_t{depth} * 16; }

  static int count(const std::int32_t* group_end, int groups) {
    int steps = 0, begin = 0;
    for (int g = 0; g < groups; ++g) {
      steps += (group_end[g] - begin + kTileBytes - 1) / kTileBytes;
      begin = group_end[g];
    }
    return steps;
  }
};

template <class Simd>
struct PackAmx {
  using Pack = Pack512<Simd>;
  static constexpr int kVectors = kBytePanel / 16;

  static std::size_t panel_bytes(int slots, int groups) {
    const int most_steps = groups == 1 ? (slots + kTileBytes - 1) / kTileBytes : slots / kTileBytes + groups;
    return static_cast<std::size_t>(most_steps) * static_cast<std::size_t>(AmxSteps(slots).tile_bytes()) * kVectors;
  }

  static constexpr int kStep = 4;
  /// The quad of slots that has `slot`, of columns [16 j, 16 j + 16), in a panel of one group.
  static char* line(char* panel, int slots, int slot, int j) {
    const AmxSteps steps(slots);
    const int step = slot / kTileBytes;
    const std::int64_t column_bytes = steps.tile_bytes() * ((slots + kTileBytes - 1) / kTileBytes);
    return panel + j * column_bytes + step * steps.tile_bytes() +
           std::int64_t{(slot - steps.start(step * kTileBytes)) / 4} * 64;
  }

  /// The same of a panel of extra slots, whose steps lie one after the other.
  static char* whole_line(char* panel, int slots, int slot, int j) {
    return panel + (std::int64_t{j} * slots + slot) * 16;
  }

  /// A group's own slots.
  struct Part {
    int begin, end;
  };

  /// One group's steps, from `panel` on; 16 columns' tiles take `column_bytes`.
  template <Zeros kZeros>
  static void group(RowReader& reader, const SlotGroups& groups, Part part, char* panel, std::int64_t column_bytes,
                    std::int32_t* corrections) {
    const std::int32_t* order = groups.order;
    const std::int16_t* zero = groups.zero;
    const AmxSteps steps(groups.slots);
    const auto [begin, end] = part;
    ZeroSums<Simd, kZeros> sums[kVectors];
    for (int k = begin; k < end; k += kTileBytes) {
      const int first = steps.start(k), stop = k + kTileBytes < end ? k + kTileBytes : end;
      for (int slot = first; slot < first + steps.depth; slot += 4, panel += 64) {
        if (slot < k || slot >= stop) {
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) Simd::store(panel + j * column_bytes, _mm512_setzero_si512());
          continue;
        }
        __m512i x[kVectors];
        Pack::read_quad(reader, order + slot, x);
        const typename ZeroSums<Simd, kZeros>::Quad quad(zero, slot);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) {
          Simd::store(panel + j * column_bytes, x[j]);
          sums[j].add(quad, x[j]);
        }
      }
    }
    Pack::store_corrections(sums, zero, begin, end, corrections);
  }

  static void pack(const PanelSource& from, const SlotGroups& groups, char* panel, std::int32_t* corrections) {
    RowReader reader(from);
    const AmxSteps steps(groups.slots);
    const std::int64_t column_bytes = steps.tile_bytes() * AmxSteps::count(groups.group_end, groups.groups);
    Pack::each_group(groups, corrections, [&]<Zeros kZeros>(int begin, int end, std::int32_t* group_corrections) {
      group<kZeros>(reader, groups, {begin, end}, panel, column_bytes, group_corrections);
      panel += (end - begin + kTileBytes - 1) / kTileBytes * steps.tile_bytes();
    });
  }

  /// One group, w[c][k]: sixteen columns by sixteen quads of slots at a time, a transposition of 32-bit lanes.
  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              char* panel, std::int32_t* corrections) {
    const AmxSteps steps(slots);
    for (int j = 0; j < kVectors; ++j) {
      ZeroSums<Simd, Zeros::kVarying> sums;
      for (int k = 0; k < slots; k += kTileBytes) {
        const int first = steps.start(k), stop = k + kTileBytes < slots ? k + kTileBytes : slots;
        __m512i x[16];
        read_columns(from, k, stop < slots_valid ? stop : slots_valid, 16 * j, x);
        transpose16<Zip>(x);
        const int skipped = (k - first) / 4, quads = (stop - k) / 4;
        for (int q = 0; q < skipped; ++q, panel += 64) Simd::store(panel, _mm512_setzero_si512());
        for (int q = 0; q < quads; ++q, panel += 64) {
          Simd::store(panel, x[q]);
          if (zero != nullptr) sums.add(typename ZeroSums<Simd, Zeros::kVarying>::Quad(zero, k + 4 * q), x[q]);
        }
      }
      sums.store(0, corrections + 16 * j);
    }
  }

 private:
  /// x[c] = slots [k, stop) of column first + c, zero past them.
  static void read_columns(const PanelSource& from, int k, int stop, int first, __m512i (&x)[16]) {
    for (int c = 0; c < 16; ++c) {
      if (first + c >= from.cols || stop <= k) {
        x[c] = _mm512_setzero_si512();
        continue;
      }
      const __mmask64 valid = ~__mmask64{0} >> (kTileBytes - (stop - k));
      x[c] = _mm512_maskz_loadu_epi8(valid, from.w + (first + c) * from.ldw + k);
    }
  }

  /// For transpose16 (generic/codes.h), elements of 32 bits.
  struct Zip {
    [[gnu::always_inline]] static __m512i low(__m512i x, __m512i y) { return from(x, y, 0); }
    [[gnu::always_inline]] static __m512i high(__m512i x, __m512i y) { return from(x, y, 8); }
    [[gnu::always_inline]] static __m512i from(__m512i x, __m512i y, int first) {
      const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      return _mm512_permutex2var_epi32(x, _mm512_add_epi32(order, _mm512_set1_epi32(first)), y);
    }
  };
};

}  // namespace
}  // namespace igq::kernels
