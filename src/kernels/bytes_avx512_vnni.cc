// The byte family on AVX-512 with the dot instruction (vpdpbusd).
//
// A tile is 7 rows by 32 columns: 14 integer and 14 float sums, two vectors of weights and one of codes fill 31 of the
// 32 registers, so that a group ends with a conversion and an fma per sum and touches no memory.
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_pack256.h"
#include "kernels/bytes_simd512.h"
#include "kernels/bytes_tile.h"
#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

struct Simd : Simd512 {
  static Int dot(Int s, Int a, Int w) {
#ifdef IGQ_EMULATE_AVX512
    return _mm512_dpbusd_epi32(s, a, w);
#else
    // As _mm512_dpbusd_epi32, for which g++ 12 copies every sum to another register and back in each step.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(w));
    return s;
#endif
  }
};
using Policy = Dot<TileShape<Simd, 7>>;

/// Full panels: four rows of 32 columns are two vectors; one permutation brings the four columns of a 128-bit lane
/// together, a shuffle within lanes puts the four slots of a column side by side.
void interleave_rows(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, char* panel) {
  alignas(64) static constexpr std::int8_t kZeros[kBytePanel] = {};
  constexpr int kAhead = 16;
  const __m512i low = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(4));
  const __m512i by_column = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const auto row = [&](std::int32_t channel) {
    const std::int8_t* p = channel >= 0 ? w + channel * ldw : kZeros;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  };
  for (int k = 0; k < slots; k += 4, panel += Policy::kStepBytes) {
    // Rows come in any order, which no hardware prefetcher follows.
    if (k + kAhead + 4 <= slots)
      for (int i = 0; i < 4; ++i) {
        const std::int32_t ahead = order[k + kAhead + i];
        _mm_prefetch(reinterpret_cast<const char*>(w + (ahead > 0 ? ahead : 0) * ldw), _MM_HINT_T0);
      }
    const __m512i x01 = _mm512_inserti64x4(_mm512_castsi256_si512(row(order[k])), row(order[k + 1]), 1);
    const __m512i x23 = _mm512_inserti64x4(_mm512_castsi256_si512(row(order[k + 2])), row(order[k + 3]), 1);
    Simd::store(panel, _mm512_shuffle_epi8(_mm512_permutex2var_epi32(x01, low, x23), by_column));
    Simd::store(panel + 64, _mm512_shuffle_epi8(_mm512_permutex2var_epi32(x01, high, x23), by_column));
  }
}

/// corrections[g][c] = -sum over the group's slots of zero[k] * w[k][c], by the dot instruction: zero + 768 in two
/// unsigned bytes, so that  sum zero * w = sum low * w + 256 * sum high * w - 768 * sum w.
void correct(const char* panel, const std::int16_t* zero, const std::int32_t* group_end, int groups,
             std::int32_t* corrections) {
  constexpr int kOffset = 768;
  const __m512i ones = _mm512_set1_epi8(1);
  int k = 0;
  for (int g = 0; g < groups; ++g, corrections += kBytePanel) {
    __m512i low[2], high[2], sum[2];
    for (int j = 0; j < 2; ++j) low[j] = high[j] = sum[j] = _mm512_setzero_si512();
    if (zero == nullptr) k = group_end[g];
    for (; k < group_end[g]; k += 4) {
      std::uint32_t low_bytes = 0, high_bytes = 0;
      for (int i = 0; i < 4; ++i) {
        const unsigned z = static_cast<unsigned>(zero[k + i] + kOffset);
        low_bytes |= (z & 255U) << (8 * i);
        high_bytes |= (z >> 8) << (8 * i);
      }
      const __m512i z_low = _mm512_set1_epi32(static_cast<std::int32_t>(low_bytes));
      const __m512i z_high = _mm512_set1_epi32(static_cast<std::int32_t>(high_bytes));
      for (int j = 0; j < 2; ++j) {
        const __m512i w = Simd::load(panel + static_cast<std::int64_t>(k) * kBytePanel + 64 * j);
        low[j] = Simd::dot(low[j], z_low, w);
        high[j] = Simd::dot(high[j], z_high, w);
        sum[j] = Simd::dot(sum[j], ones, w);
      }
    }
    for (int j = 0; j < 2; ++j) {
      const __m512i offset = _mm512_mullo_epi32(sum[j], _mm512_set1_epi32(kOffset));
      const __m512i scaled = Simd::add32(low[j], _mm512_slli_epi32(high[j], 8));
      Simd::store(corrections + 16 * j, _mm512_sub_epi32(offset, scaled));
    }
  }
}

std::size_t panel_bytes(int slots, CodeRange) noexcept {
  return static_cast<std::size_t>(slots) * kBytePanel;
}

void pack_bytes(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, const std::int16_t* zero,
                const std::int32_t* group_end, int groups, int cols, CodeRange, void* panel,
                std::int32_t* corrections) noexcept {
  if (cols >= kBytePanel)
    interleave_rows(w, ldw, order, slots, static_cast<char*>(panel));
  else
    Pack256<kBytePanel, false>::straight(w, ldw, order, slots, cols, static_cast<char*>(panel));
  correct(static_cast<char*>(panel), zero, group_end, groups, corrections);
}

void pack_bytes_transposed(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots, const std::int16_t* zero,
                           int cols, CodeRange, void* panel, std::int32_t* corrections) noexcept {
  const std::int32_t end = slots;
  Pack256<kBytePanel, false>::transposed(w, ldw, slots_valid, slots, cols, static_cast<char*>(panel));
  correct(static_cast<char*>(panel), zero, &end, 1, corrections);
}

void byte_gemm(const ByteGemm& g) noexcept { Gemm<Policy>::run(g, 0); }

}  // namespace

void fill_byte_kernels_avx512_vnni(Kernels& table) {
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.permute_codes = Codes256::permute;
  table.unpack_codes = Codes256::unpack;
}

}  // namespace igq::kernels
