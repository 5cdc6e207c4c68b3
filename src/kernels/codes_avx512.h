// Codes of 64 columns at a time for AVX-512: rounded to integers of 32 bits, shifted, limited and multiplied as words,
// stored as whole cache lines. The same codes as the float formulas of rows_kernels.h, which serve the columns left
// over, at about half the instructions: these kernels are bound by them.
#pragma once

#include "kernels/rows_kernels.h"
#include "kernels/vec16_avx512.h"

namespace igq::kernels {
namespace {

inline constexpr int kCodeColumns = 64;

/// Words of 64 columns, as packing pairs of vectors leaves them: within each quarter of a vector four columns of
/// either.
struct Words64 {
  __m512i w[2];
};

/// Limited to 16 bits.
inline Words64 pack_words(const __m512i (&x)[4]) {
  return {{_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3])}};
}

inline Words64 add_words(const Words64& x, const Words64& y) {
  return {{_mm512_adds_epi16(x.w[0], y.w[0]), _mm512_adds_epi16(x.w[1], y.w[1])}};
}

/// Words limited to [0, top], words too.
inline Words64 limited(const Words64& x, __m512i top) {
  const __m512i zero = _mm512_setzero_si512();
  return {
      {_mm512_min_epi16(_mm512_max_epi16(x.w[0], zero), top), _mm512_min_epi16(_mm512_max_epi16(x.w[1], zero), top)}};
}

/// Words as bytes in the order of columns, limited to [0, 255].
inline __m512i bytes_in_order(const Words64& x) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(x.w[0], x.w[1]));
}

/// Rounded values as words: what is beyond them, with zero-points within 32,511 added, is beyond every code to the
/// same side. NaN, which min lets pass, and what is too low become the least integer and so the least word.
inline Words64 rounded(const __m512 (&scaled)[4]) {
  __m512i x[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) x[j] = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(1e6F), scaled[j]));
  return pack_words(x);
}

inline std::int32_t sum_of_lanes(__m512i x) {
  alignas(64) std::int32_t lanes[16];
  _mm512_storeu_si512(lanes, x);
  const __m256i half = _mm256_add_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(lanes)),
                                        _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes + 8)));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

/// The quantizers of 64 columns.
struct Quantizers64 {
  __m512 inv[4];
  Words64 zero;
  __m512i top_word, top_byte;

  Quantizers64(const float* inv_scale, const float* zero_point, int q_max)
      : top_word(_mm512_set1_epi16(static_cast<short>(q_max))), top_byte(_mm512_set1_epi8(static_cast<char>(q_max))) {
    __m512i zeros[4];
    for (int j = 0; j < 4; ++j) {
      inv[j] = _mm512_loadu_ps(inv_scale + 16 * j);
      zeros[j] = _mm512_cvtps_epi32(_mm512_loadu_ps(zero_point + 16 * j));
    }
    zero = pack_words(zeros);
  }
  /// Codes before they are limited.
  Words64 shifted(const float* x) const {
    __m512 scaled[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) scaled[j] = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * j), inv[j]);
    return add_words(rounded(scaled), zero);
  }
  __m512i bytes(const float* x) const { return _mm512_min_epu8(bytes_in_order(shifted(x)), top_byte); }
  Words64 codes(const float* x) const { return limited(shifted(x), top_word); }
};

/// The columns of whole blocks of 64, and what is left.
inline int whole_columns(int cols) { return cols / kCodeColumns * kCodeColumns; }

inline void quantize_channels_avx512(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale,
                                     const float* zero, int q_max, std::uint8_t* codes, std::int64_t ldc) noexcept {
  const int whole = whole_columns(cols);
  for (int c = 0; c < whole; c += kCodeColumns) {
    const Quantizers64 q(inv_scale + c, zero + c, q_max);
    for (int t = 0; t < rows; ++t) {
      _mm512_storeu_si512(codes + t * ldc + c, q.bytes(x + t * ldx + c));
    }
  }
  if (whole < cols)
    quantize<VecAvx512, false>(x + whole, ldx, rows, cols - whole, inv_scale + whole, zero + whole, q_max,
                               codes + whole, ldc);
}

inline void quantize_rows_avx512(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale,
                                 const float* zero, int q_max, std::uint8_t* codes, std::int64_t ldc) noexcept {
  const int whole = whole_columns(cols);
  const __m512i top = _mm512_set1_epi8(static_cast<char>(q_max));
  for (int t = 0; t < rows && whole > 0; ++t) {
    const __m512 inv = _mm512_set1_ps(inv_scale[t]);
    const __m512i row_zero = _mm512_set1_epi16(static_cast<short>(zero[t]));
    for (int c = 0; c < whole; c += kCodeColumns) {
      __m512 scaled[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) scaled[j] = _mm512_mul_ps(_mm512_loadu_ps(x + t * ldx + c + 16 * j), inv);
      const __m512i bytes = bytes_in_order(add_words(rounded(scaled), {{row_zero, row_zero}}));
      _mm512_storeu_si512(codes + t * ldc + c, _mm512_min_epu8(bytes, top));
    }
  }
  if (whole < cols)
    quantize<VecAvx512, true>(x + whole, ldx, rows, cols - whole, inv_scale, zero, q_max, codes + whole, ldc);
}

/// What is stored of codes and multiples; kOnes: every multiple is 1, so that codes are the products.
enum class Stored { kOnes, kCodes, kProducts };

template <Stored kStored>
void quantize_multiples_avx512_as(const float* x, std::int64_t ldx, int rows, int whole, const float* inv_scale,
                                  const float* zero, const float* m, int q_max, std::uint8_t* codes, std::int64_t ldc,
                                  std::int32_t* sums) noexcept {
  constexpr int kRows = 16;  // whose sums of lanes are added up over all columns
  for (int first = 0; first < rows && whole > 0; first += kRows) {
    const int height = rows - first < kRows ? rows - first : kRows;
    __m512i totals[kRows];
    for (int c = 0; c < whole; c += kCodeColumns) {
      const Quantizers64 q(inv_scale + c, zero + c, q_max);
      Words64 multiple{};
      if constexpr (kStored != Stored::kOnes) {
        __m512i multiples[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) multiples[j] = _mm512_cvtps_epi32(_mm512_loadu_ps(m + c + 16 * j));
        multiple = pack_words(multiples);
      }
      for (int r = 0; r < height; ++r) {
        const std::int64_t t = first + r;
        Words64 code{};
        __m512i bytes;
        if constexpr (kStored == Stored::kOnes) {
          bytes = q.bytes(x + t * ldx + c);
        } else {
          code = q.codes(x + t * ldx + c);
          bytes = bytes_in_order(kStored == Stored::kCodes ? code
                                                           : Words64{{_mm512_mullo_epi16(code.w[0], multiple.w[0]),
                                                                      _mm512_mullo_epi16(code.w[1], multiple.w[1])}});
        }
        _mm512_storeu_si512(codes + t * ldc + c, bytes);
        if (sums == nullptr) continue;
        // Where products are bytes the processor has an instruction for their sums.
        const __m512i sum = kStored == Stored::kCodes ? _mm512_add_epi32(_mm512_madd_epi16(code.w[0], multiple.w[0]),
                                                                         _mm512_madd_epi16(code.w[1], multiple.w[1]))
                                                      : _mm512_sad_epu8(bytes, _mm512_setzero_si512());
        totals[r] = c == 0 ? sum : _mm512_add_epi32(totals[r], sum);
      }
    }
    for (int r = 0; r < height && sums != nullptr; ++r) sums[first + r] += sum_of_lanes(totals[r]);
  }
}

inline void quantize_multiples_avx512(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale,
                                      const float* zero, const float* m, int q_max, CodeForm form, std::uint8_t* codes,
                                      std::int64_t ldc, std::int32_t* sums) noexcept {
  const int whole = whole_columns(cols);
  if (m == nullptr)
    quantize_multiples_avx512_as<Stored::kOnes>(x, ldx, rows, whole, inv_scale, zero, m, q_max, codes, ldc, sums);
  else if (form == CodeForm::kCodes)
    quantize_multiples_avx512_as<Stored::kCodes>(x, ldx, rows, whole, inv_scale, zero, m, q_max, codes, ldc, sums);
  else
    quantize_multiples_avx512_as<Stored::kProducts>(x, ldx, rows, whole, inv_scale, zero, m, q_max, codes, ldc, sums);
  if (whole < cols)
    quantize_multiples<VecAvx512>(x + whole, ldx, rows, cols - whole, inv_scale + whole, zero + whole,
                                  m == nullptr ? nullptr : m + whole, q_max, form, codes + whole, ldc, sums);
}

}  // namespace
}  // namespace igq::kernels
