// Codes of softmax rows for AVX-512, 64 columns at a time: the same bits as generic/softmax.h.
#pragma once

#include "kernels/x86/codes_avx512.h"
#include "kernels/x86/lanes_avx512.h"
#include "kernels/generic/softmax.h"

namespace igq::kernels {
namespace {

inline void softmax_codes_avx512(const MatrixView<const float>& from, const float* inverse, const float* inv_scale,
                                 int q_max, std::uint8_t* codes, std::int64_t ldc, float* code_sum) noexcept {
  const float* x = from.data;
  const std::int64_t ldx = from.stride;
  const int rows = from.rows, cols = from.cols, whole = whole_columns(cols);
  if (whole < cols)
    softmax_codes<VecAvx512>(from.columns_from(whole), inverse, inv_scale, q_max, codes + whole, ldc, code_sum);
  const __m512i top = _mm512_set1_epi8(static_cast<char>(q_max));
  for (int t = 0; t < rows && whole > 0; ++t) {
    const __m512 inverse_sum = _mm512_set1_ps(inverse[t]), inv = _mm512_set1_ps(inv_scale[t]);
    __m512i total = _mm512_setzero_si512();
    for (int c = 0; c < whole; c += kCodeColumns) {
      __m512 scaled[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j)
        scaled[j] = _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + t * ldx + c + 16 * j), inverse_sum), inv);
      const __m512i bytes = _mm512_min_epu8(bytes_in_order(rounded(scaled)), top);
      _mm512_storeu_si512(codes + t * ldc + c, bytes);
      total = _mm512_add_epi32(total, _mm512_sad_epu8(bytes, _mm512_setzero_si512()));
    }
    const auto sum = static_cast<float>(Simd512::sum_lanes(total));  // exact, as the sum of both
    code_sum[t] = whole < cols ? code_sum[t] + sum : sum;
  }
}

/// exp2_for_codes() with the instruction that multiplies by a power of two: the same bits.
template <int N>
[[gnu::always_inline]] inline Lockstep<VecAvx512, N> exp2_for_codes_avx512(const Lockstep<VecAvx512, N>& y) {
  using Columns = Lockstep<VecAvx512, N>;
  alignas(64) static constexpr float kExp2[16] = {
      1.0F,        1.04427373F, 1.09050775F, 1.13878858F, 1.18920708F, 1.24185777F, 1.29683959F, 1.35425556F,
      1.41421354F, 1.47682619F, 1.54221082F, 1.61049032F, 1.68179286F, 1.75625217F, 1.8340081F,  1.91520655F};
  const Columns clamped = Columns::max(Columns::splat(kLowestExponent), y),
                shifted = clamped + Columns::splat(kSixteenthShift);
  const Columns n = shifted - Columns::splat(kSixteenthShift), r = clamped - n, power = Columns::lookup(kExp2, shifted);
  const Columns e =
      Columns::fma(power * r, Columns::fma(Columns::splat(kExp2Rest[1]), r, Columns::splat(kExp2Rest[0])), power);
  return Columns::make([&](int j) { return VecAvx512{{_mm512_scalef_ps(e.v[j].v[0], n.v[j].v[0])}}; });
}

/// A row's scores or, with a bias, logits.
template <bool kBiased>
struct RowValues {
  const float *x, *bias;
  VecAvx512 scale;

  VecAvx512 at(int c) const { return scores_or_logits<true>(x, kBiased ? bias : nullptr, scale, c, 16); }
  VecAvx512 part(int c, int n) const { return scores_or_logits<false>(x, kBiased ? bias : nullptr, scale, c, n); }
};

template <bool kBiased>
inline __m512 largest_of_row(const RowValues<kBiased>& row, int cols) {
  VecAvx512 high = VecAvx512::splat(-kInfinity);
  int c = 0;
  for (; c + 16 <= cols; c += 16) high = VecAvx512::max(row.at(c), high);
  if (c < cols) high = VecAvx512::max(row.part(c, cols - c), high);
  return high.v[0];
}

/// What a row adds up, in lanes that are left to be added up.
struct RowLanes {
  __m512 exponentials, code_sums;  ///< the latter integers
};

/// 64 columns of a row at a time, whose chains of operations go side by side.
template <bool kBiased>
[[gnu::always_inline]] inline RowLanes softmax_codes_of_row(const RowValues<kBiased>& row, int cols, VecAvx512 factor,
                                                            VecAvx512 minus_largest, __m512i top, std::uint8_t* codes) {
  const int whole = whole_columns(cols), rest = cols - whole;
  VecAvx512 total = VecAvx512::splat(0);
  __m512i sums = _mm512_setzero_si512();
  // Codes of up to four vectors of columns from values_of(0) on.
  const auto codes_of = [&]<int N>(const auto& values_of) __attribute__((always_inline)) {
    const auto e = exp2_for_codes_avx512(
        Lockstep<VecAvx512, N>::make([&](int j) { return VecAvx512::fma(values_of(j), factor, minus_largest); }));
    __m512i rounded[4] = {};
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      total = total + e.v[j];
      rounded[j] = _mm512_cvtps_epi32(e.v[j].v[0]);  // NaN becomes the least integer and so 0
    }
    const __m512i bytes = _mm512_min_epu8(bytes_in_order(pack_words(rounded)), top);
    sums = _mm512_add_epi32(sums, _mm512_sad_epu8(bytes, _mm512_setzero_si512()));
    return bytes;
  };
  for (int c = 0; c < whole; c += kCodeColumns)
    _mm512_storeu_si512(codes + c, codes_of.template operator()<4>([&](int j) { return row.at(c + 16 * j); }));
  const auto store_rest = [&]<int N>() __attribute__((always_inline)) {
    const __m512i bytes = codes_of.template operator()<N>(
        [&](int j) { return row.part(whole + 16 * j, j + 1 < N ? 16 : rest - 16 * j); });
    _mm512_mask_storeu_epi8(codes + whole, (std::uint64_t{1} << rest) - 1, bytes);
  };
  switch ((rest + 15) / 16) {
    case 1:
      store_rest.template operator()<1>();
      break;
    case 2:
      store_rest.template operator()<2>();
      break;
    case 3:
      store_rest.template operator()<3>();
      break;
    case 4:
      store_rest.template operator()<4>();
      break;
    default:
      break;
  }
  return {total.v[0], _mm512_castsi512_ps(sums)};
}

template <bool kBiased>
inline void softmax_row_codes_as(const MatrixView<const float>& from, const Logits& logits, int q_max,
                                 std::uint8_t* codes, std::int64_t ldc, float* row_scale, float* code_sum) {
  const float *x = from.data, *bias = logits.bias;
  const std::int64_t ldx = from.stride, ldb = logits.ldb;
  const int rows = from.rows, cols = from.cols;
  const float scale = logits.scale;
  const RowExponents exponents(scale, kBiased, q_max);
  const VecAvx512 factor = VecAvx512::splat(exponents.factor);
  const __m512i top = _mm512_set1_epi8(static_cast<char>(q_max));
  for (int t = 0; t < rows; t += kLaneRows) {
    const int count = rows - t < kLaneRows ? rows - t : kLaneRows;
    const auto values = [&](int r) {
      return RowValues<kBiased>{x + (t + r) * ldx, kBiased ? bias + (t + r) * ldb : nullptr, VecAvx512::splat(scale)};
    };
    __m512 lanes[kLaneRows] = {}, sums[kLaneRows] = {};
    for (int r = 0; r < count; ++r) lanes[r] = largest_of_row(values(r), cols);
    alignas(64) float largest[kLaneRows];
    _mm512_store_ps(largest, reduce_lanes<MaxLanes>(lanes));
    for (int r = 0; r < count; ++r) {
      const RowLanes row = softmax_codes_of_row(
          values(r), cols, factor, VecAvx512::splat(-exponents.largest(largest[r])), top, codes + (t + r) * ldc);
      lanes[r] = row.exponentials, sums[r] = row.code_sums;
    }
    const __mmask16 valid = Simd512::first_lanes(count);
    _mm512_mask_storeu_ps(row_scale + t, valid, _mm512_div_ps(_mm512_set1_ps(1.0F), reduce_lanes<AddLanes>(lanes)));
    _mm512_mask_storeu_ps(code_sum + t, valid,
                          _mm512_cvtepi32_ps(_mm512_castps_si512(reduce_lanes<AddIntegerLanes>(sums))));
  }
}

inline void softmax_row_codes_avx512(const MatrixView<const float>& x, const Logits& logits, int q_max,
                                     std::uint8_t* codes, std::int64_t ldc, float* row_scale,
                                     float* code_sum) noexcept {
  if (logits.bias != nullptr)
    softmax_row_codes_as<true>(x, logits, q_max, codes, ldc, row_scale, code_sum);
  else
    softmax_row_codes_as<false>(x, logits, q_max, codes, ldc, row_scale, code_sum);
}

}  // namespace
}  // namespace igq::kernels
