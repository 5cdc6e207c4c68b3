// Codes of 64 columns at a time for AVX-512: rounded to integers of 32 bits, shifted, limited and multiplied as words,
// stored as whole cache lines. The same codes as the float formulas of generic/rows.h, which serve the columns left
// over, at about half the instructions: these kernels are bound by them.
#pragma once

#include "kernels/generic/rows.h"
#include "kernels/generic/vec16.h"
#include "kernels/x86/simd512.h"

namespace igq::kernels {
namespace {

using VecAvx512 = Vec16<Simd512>;

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

/// The quantizers of 64 columns.
struct Quantizers64 {
  __m512 inv[4];
  Words64 zero;
  __m512i top_word, top_byte;

  /// Of columns [c, c + 64).
  Quantizers64(const Quantizers& q, int c)
      : top_word(_mm512_set1_epi16(static_cast<short>(q.q_max))),
        top_byte(_mm512_set1_epi8(static_cast<char>(q.q_max))) {
    __m512i zeros[4];
    for (int j = 0; j < 4; ++j) {
      inv[j] = _mm512_loadu_ps(q.inv_scale + c + 16 * j);
      zeros[j] = _mm512_cvtps_epi32(_mm512_loadu_ps(q.zero + c + 16 * j));
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

/// The quantizers of columns from c on.
inline Quantizers columns_from(const Quantizers& q, int c) { return {q.inv_scale + c, q.zero + c, q.q_max}; }

inline void quantize_channels_avx512(const MatrixView<const float>& x, const Quantizers& channels, std::uint8_t* codes,
                                     std::int64_t ldc) noexcept {
  const int whole = whole_columns(x.cols), rows = x.rows;
  for (int c = 0; c < whole; c += kCodeColumns) {
    const Quantizers64 q(channels, c);
    for (int t = 0; t < rows; ++t) _mm512_storeu_si512(codes + t * ldc + c, q.bytes(x.data + t * x.stride + c));
  }
  if (whole < x.cols)
    quantize<VecAvx512, false>(x.columns_from(whole), columns_from(channels, whole), codes + whole, ldc);
}

inline void quantize_rows_avx512(const MatrixView<const float>& x, const Quantizers& quantizers, std::uint8_t* codes,
                                 std::int64_t ldc) noexcept {
  const int whole = whole_columns(x.cols), rows = x.rows;
  const __m512i top = _mm512_set1_epi8(static_cast<char>(quantizers.q_max));
  for (int t = 0; t < rows && whole > 0; ++t) {
    const __m512 inv = _mm512_set1_ps(quantizers.inv_scale[t]);
    const __m512i row_zero = _mm512_set1_epi16(static_cast<short>(quantizers.zero[t]));
    const float* row = x.data + t * x.stride;
    for (int c = 0; c < whole; c += kCodeColumns) {
      __m512 scaled[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) scaled[j] = _mm512_mul_ps(_mm512_loadu_ps(row + c + 16 * j), inv);
      const __m512i bytes = bytes_in_order(add_words(rounded(scaled), {{row_zero, row_zero}}));
      _mm512_storeu_si512(codes + t * ldc + c, _mm512_min_epu8(bytes, top));
    }
  }
  if (whole < x.cols) quantize<VecAvx512, true>(x.columns_from(whole), quantizers, codes + whole, ldc);
}

/// What is stored of codes and multiples; kOnes: every multiple is 1, so that codes are the products.
enum class Stored { kOnes, kCodes, kProducts };

template <Stored kStored>
void quantize_multiples_avx512_as(const MatrixView<const float>& from, const Quantizers& channels, const float* m,
                                  std::uint8_t* codes, std::int64_t ldc, std::int32_t* sums) noexcept {
  const float* x = from.data;
  const std::int64_t ldx = from.stride;
  const int rows = from.rows, whole = whole_columns(from.cols);
  constexpr int kRows = 16;  // whose sums of lanes are added up over all columns
  for (int first = 0; first < rows && whole > 0; first += kRows) {
    const int height = rows - first < kRows ? rows - first : kRows;
    __m512i totals[kRows];
    for (int c = 0; c < whole; c += kCodeColumns) {
      const Quantizers64 q(channels, c);
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
    for (int r = 0; r < height && sums != nullptr; ++r) sums[first + r] += Simd512::sum_lanes(totals[r]);
  }
}

inline void quantize_multiples_avx512(const MatrixView<const float>& x, const Quantizers& channels, const float* m,
                                      CodeForm form, std::uint8_t* codes, std::int64_t ldc,
                                      std::int32_t* sums) noexcept {
  if (m == nullptr)
    quantize_multiples_avx512_as<Stored::kOnes>(x, channels, m, codes, ldc, sums);
  else if (form == CodeForm::kCodes)
    quantize_multiples_avx512_as<Stored::kCodes>(x, channels, m, codes, ldc, sums);
  else
    quantize_multiples_avx512_as<Stored::kProducts>(x, channels, m, codes, ldc, sums);
  if (const int whole = whole_columns(x.cols); whole < x.cols)
    quantize_multiples<VecAvx512>(x.columns_from(whole), columns_from(channels, whole),
                                  m == nullptr ? nullptr : m + whole, form, codes + whole, ldc, sums);
}

}  // namespace
}  // namespace igq::kernels
