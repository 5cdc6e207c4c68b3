// How sums of byte products become outputs, the same chain of roundings in every kernel (table.h, ByteGemm).
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// Weights come from afar (a model's exceed the cache), so each tile asks for its share of the next panel's.
inline void fetch_next(const ByteGemm& g, std::int64_t begin, std::int64_t end) {
  if (g.next == nullptr) return;
  for (std::int64_t k = begin; k < end; ++k) __builtin_prefetch(g.next + k * g.next_stride, 0, 2);
}

/// Rows [t, t + R) of one vector of columns from n on: row sums, scales, bias, what was there; stores the columns that
/// exist.
template <class Simd, int R>
[[gnu::always_inline]] inline void store_outputs(const ByteGemm& g, int t, int n, typename Simd::Float (&v)[R]) {
  using Float = typename Simd::Float;
  const int count = g.cols - n;
  if (count <= 0 || g.y == nullptr) return;
  if (g.row_sum != nullptr) {
    const Float zero = Simd::load_first(g.col_zero + n, count);
    const float* row_sum = g.row_sum + t;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) v[r] = Simd::fnma(zero, Simd::set1(row_sum[r]), v[r]);
  }
  if (g.row_scale != nullptr) {
    const float* row_scale = g.row_scale + t;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) v[r] = Simd::mul(v[r], Simd::set1(row_scale[r]));
  }
  const Float scale = Simd::load_first(g.col_scale + n, count);
  const Float bias = g.bias != nullptr ? Simd::load_first(g.bias + n, count) : Simd::zerof();
  const std::int64_t ldy = g.ldy;
  float* y = g.y + t * ldy + n;
  if (g.add) {
    const Float gamma = g.gamma != nullptr ? Simd::load_first(g.gamma + n, count) : Simd::set1(1.0F);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r, y += ldy)
      Simd::store_first(y, count, Simd::fma(gamma, Simd::fma(v[r], scale, bias), Simd::load_first(y, count)));
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, y += ldy) Simd::store_first(y, count, Simd::fma(v[r], scale, bias));
}

}  // namespace
}  // namespace igq::kernels
