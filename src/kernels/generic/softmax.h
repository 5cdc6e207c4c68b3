// Softmax of rows, written once over V (generic/vec16.h): probabilities, or codes of them for integer attention
// (docs/method.md, sections 4 and 8.3). Contracts are in table.h.
#pragma once

#include "kernels/table.h"
#include "kernels/generic/row_columns.h"
#include "kernels/generic/vec_lockstep.h"
#include "kernels/generic/vec_math.h"

namespace igq::kernels {
namespace {

/// scale * x + bias in columns [c, c + n) of a row; lanes that do not exist hold -inf.
template <bool kFull, class V>
inline V logits_at(const float* x, const float* bias, V scale, int c, int n) {
  const V v = load_lanes<kFull, V>(x + c, n, -kInfinity);
  return bias != nullptr ? V::fma(scale, v, load_lanes<kFull, V>(bias + c, n)) : scale * v;
}

/// What the largest logit of a row is found among: logits, or without a bias scores, as rounding keeps the order.
template <bool kFull, class V>
inline V scores_or_logits(const float* x, const float* bias, V scale, int c, int n) {
  return bias != nullptr ? logits_at<kFull>(x, bias, scale, c, n) : load_lanes<kFull, V>(x + c, n, -kInfinity);
}

/// R rows side by side, because within a row everything waits for its largest value and then for its sum. Logits are
/// computed twice rather than stored.
template <class V, int R>
inline void softmax_exp_rows(const MatrixView<float>& from, const Logits& logits, float* inverse) {
  using Rows = Lockstep<V, R>;
  float* x = from.data;
  const std::int64_t ldx = from.stride, ldb = logits.ldb;
  const int cols = from.cols;
  const float* bias = logits.bias;
  const V factor = V::splat(logits.scale);
  const auto row_bias = [&](int r) { return bias != nullptr ? bias + r * ldb : nullptr; };
  Rows high = Rows::splat(-kInfinity), total = Rows::splat(0);
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    high = Rows::max(Rows::make([&](int r) { return scores_or_logits<kFull>(x + r * ldx, row_bias(r), factor, c, n); }),
                     high);
  });
  const V last_factor = bias != nullptr ? V::splat(1) : factor;
  high = Rows::make([&](int r) { return last_factor * V::splat(high.v[r].max_lane()); });
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    const Rows logit = Rows::make([&](int r) { return logits_at<kFull>(x + r * ldx, row_bias(r), factor, c, n); });
    const Rows e = exp_to_88(logit - high);  // absent lanes add 0
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) store_lanes<kFull>(e.v[r], x + r * ldx + c, n);
    total = total + e;
  });
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) inverse[r] = 1.0F / total.v[r].sum();
}

/// A NaN or +inf anywhere in a row, or a row of -inf alone, gives a row of NaN (as PyTorch).
template <class V>
void softmax_exp(const MatrixView<float>& x, const Logits& logits, float* inverse) noexcept {
  int t = 0;
  for (; t + V::kLockstep <= x.rows; t += V::kLockstep)
    softmax_exp_rows<V, V::kLockstep>(x.rows_from(t), logits.rows_from(t), inverse + t);
  for (; t < x.rows; ++t) softmax_exp_rows<V, 1>(x.rows_from(t), logits.rows_from(t), inverse + t);
}

template <class V>
void softmax_rows(const MatrixView<float>& x, const Logits& logits, float* row_max) noexcept {
  constexpr int kBlock = 16;
  for (int t = 0; t < x.rows; t += kBlock) {
    MatrixView<float> block = x.rows_from(t);
    if (block.rows > kBlock) block.rows = kBlock;
    float inverse[kBlock];
    softmax_exp<V>(block, logits.rows_from(t), inverse);
    for (int r = 0; r < block.rows; ++r) {
      float* row = block.data + r * block.stride;
      for_columns(block.cols, [&]<bool kFull>(int c, int n) {
        store_lanes<kFull>(load_lanes<kFull, V>(row + c, n) * V::splat(inverse[r]), row + c, n);
      });
      if (row_max != nullptr) row_max[t + r] = inverse[r];  // the largest term is exp(0) = 1 exactly
    }
  }
}

template <class V>
void softmax_codes(const MatrixView<const float>& x, const float* inverse, const float* inv_scale, int q_max,
                   std::uint8_t* codes, std::int64_t ldc, float* code_sum) noexcept {
  const V top = V::splat(static_cast<float>(q_max));
  const int rows = x.rows, cols = x.cols;
  for (int t = 0; t < rows; ++t) {
    const V inverse_sum = V::splat(inverse[t]), inv = V::splat(inv_scale[t]);
    const float* row = x.data + t * x.stride;
    V total = V::splat(0);
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      const V p = load_lanes<kFull, V>(row + c, n) * inverse_sum;
      const V code = V::min(V::max(V::round(p * inv), V::splat(0)), top);  // NaN becomes 0
      if constexpr (kFull)
        code.store_bytes(codes + t * ldc + c);
      else
        code.store_bytes_part(codes + t * ldc + c, n);
      total = total + code;  // absent lanes hold 0; exact below 2^24
    });
    code_sum[t] = total.sum();
  }
}

/// The exponents of softmax_row_codes: y = fma(x, factor, -largest(top)), where 2^y = q_max exp(logit - largest logit),
/// and x and the row's largest one, top, are scores or logits.
struct RowExponents {
  float factor, log2_codes;

  RowExponents(float scale, bool biased, int q_max) {
    constexpr float kLog2E = 1.44269504F;
    constexpr float kLog2Codes[] = {0.0F,        0.0F,        1.5849625F,  2.80735493F, 3.9068906F,
                                    4.95419645F, 5.97728014F, 6.98868465F, 7.99435329F};  // of 2^bits - 1
    factor = biased ? kLog2E : scale * kLog2E;
    log2_codes = kLog2Codes[32 - __builtin_clz(static_cast<unsigned>(q_max))];
  }
  float largest(float top) const { return top * factor - log2_codes; }
};

template <class V, int R>
inline void softmax_row_codes_of(const MatrixView<const float>& from, const Logits& logits, int q_max,
                                 std::uint8_t* codes, std::int64_t ldc, float* row_scale, float* code_sum) {
  using Rows = Lockstep<V, R>;
  const float *x = from.data, *bias = logits.bias;
  const std::int64_t ldx = from.stride, ldb = logits.ldb;
  const int cols = from.cols;
  const RowExponents exponents(logits.scale, bias != nullptr, q_max);
  const V scores_factor = V::splat(logits.scale), factor = V::splat(exponents.factor),
          top = V::splat(static_cast<float>(q_max));
  const auto values = [&]<bool kFull>(int c, int n) {
    return Rows::make([&](int r) {
      return scores_or_logits<kFull>(x + r * ldx, bias != nullptr ? bias + r * ldb : nullptr, scores_factor, c, n);
    });
  };
  Rows high = Rows::splat(-kInfinity), total = Rows::splat(0), code_total = total;
  for_columns(cols, [&]<bool kFull>(int c, int n) { high = Rows::max(values.template operator()<kFull>(c, n), high); });
  const Rows minus_largest = Rows::make([&](int r) { return V::splat(-exponents.largest(high.v[r].max_lane())); });
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    const Rows x_or_logit = values.template operator()<kFull>(c, n);
    const Rows e =
        exp2_for_codes(Rows::make([&](int r) { return V::fma(x_or_logit.v[r], factor, minus_largest.v[r]); }));
    total = total + e;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V code = V::min(V::max(V::round(e.v[r]), V::splat(0)), top);  // NaN becomes 0
      if constexpr (kFull)
        code.store_bytes(codes + r * ldc + c);
      else
        code.store_bytes_part(codes + r * ldc + c, n);
      code_total.v[r] = code_total.v[r] + code;  // absent lanes hold 0; exact below 2^24
    }
  });
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    row_scale[r] = 1.0F / total.v[r].sum();
    code_sum[r] = code_total.v[r].sum();
  }
}

template <class V>
void softmax_row_codes(const MatrixView<const float>& x, const Logits& logits, int q_max, std::uint8_t* codes,
                       std::int64_t ldc, float* row_scale, float* code_sum) noexcept {
  const auto some = [&]<int R>(int t) {
    softmax_row_codes_of<V, R>(x.rows_from(t), logits.rows_from(t), q_max, codes + t * ldc, ldc, row_scale + t,
                               code_sum + t);
  };
  int t = 0;
  for (; t + V::kLockstep <= x.rows; t += V::kLockstep) some.template operator()<V::kLockstep>(t);
  for (; t < x.rows; ++t) some.template operator()<1>(t);
}

}  // namespace
}  // namespace igq::kernels
