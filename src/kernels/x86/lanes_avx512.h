// The lanes of 16 vectors of AVX-512 added up, or their least or largest found, side by side: lane r of the result is
// what VecAvx512::sum(), min_lane() or max_lane() makes of vector r, by the same tree (lane i with i + 8, then i + 4, i
// + 2, i + 1) and so with the same bits, for a third of the instructions. Rows that are short spend much of their time
// there.
#pragma once

#include "kernels/generic/vec16.h"
#include "kernels/x86/simd512.h"

namespace igq::kernels {
namespace {

struct AddLanes {
  static __m512 of(__m512 x, __m512 y) { return _mm512_add_ps(x, y); }
};
struct AddIntegerLanes {
  static __m512 of(__m512 x, __m512 y) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_castps_si512(y)));
  }
};
struct MinLanes {
  static __m512 of(__m512 x, __m512 y) { return _mm512_min_ps(x, y); }
};
struct MaxLanes {
  static __m512 of(__m512 x, __m512 y) { return _mm512_max_ps(x, y); }
};

/// Rows whose lanes go together.
inline constexpr int kLaneRows = 16;

template <class Op>
inline __m512 reduce_lanes(const __m512 (&rows)[kLaneRows]) {
  __m512 four[4];  // [i]: in each quarter, four lanes of one of the rows 4 i to 4 i + 3
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512* r = rows + 4 * i;
    const __m512 first = Op::of(_mm512_shuffle_f32x4(r[0], r[1], 0x44), _mm512_shuffle_f32x4(r[0], r[1], 0xEE));
    const __m512 second = Op::of(_mm512_shuffle_f32x4(r[2], r[3], 0x44), _mm512_shuffle_f32x4(r[2], r[3], 0xEE));
    four[i] = Op::of(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xDD));
  }
  const __m512 low = Op::of(_mm512_unpacklo_ps(four[0], four[1]), _mm512_unpackhi_ps(four[0], four[1]));
  const __m512 high = Op::of(_mm512_unpacklo_ps(four[2], four[3]), _mm512_unpackhi_ps(four[2], four[3]));
  const __m512 by_quarter =
      Op::of(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xEE));  // row 4 i + quarter at lane i
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), by_quarter);
}

inline void row_range_avx512(const float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept {
  const __m512 infinity = _mm512_set1_ps(__builtin_inff()), minus_infinity = _mm512_set1_ps(-__builtin_inff());
  const int whole = cols / 16 * 16;
  const __mmask16 rest = Simd512::first_lanes(cols - whole);
  for (int t = 0; t < rows; t += kLaneRows) {
    const int count = rows - t < kLaneRows ? rows - t : kLaneRows;
    __m512 low[kLaneRows], high[kLaneRows];
    for (int r = 0; r < kLaneRows; ++r) {
      low[r] = infinity, high[r] = minus_infinity;
      if (r >= count) continue;
      const float* row = x + (t + r) * ldx;
      for (int c = 0; c < whole; c += 16) {
        const __m512 v = _mm512_loadu_ps(row + c);
        low[r] = _mm512_min_ps(v, low[r]), high[r] = _mm512_max_ps(v, high[r]);  // NaN leaves what was there
      }
      if (whole == cols) continue;
      low[r] = _mm512_min_ps(_mm512_mask_loadu_ps(infinity, rest, row + whole), low[r]);
      high[r] = _mm512_max_ps(_mm512_mask_loadu_ps(minus_infinity, rest, row + whole), high[r]);
    }
    _mm512_mask_storeu_ps(mn + t, Simd512::first_lanes(count), reduce_lanes<MinLanes>(low));
    _mm512_mask_storeu_ps(mx + t, Simd512::first_lanes(count), reduce_lanes<MaxLanes>(high));
  }
}

}  // namespace
}  // namespace igq::kernels
