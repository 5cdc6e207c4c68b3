// Kernels on rows of floats, written once over V (generic/vec16.h): quantization, ranges, layer norm, activations;
// softmax in generic/softmax.h. Contracts are in table.h. Every loop goes over a row in steps of 16 lanes; the last
// step may be partial.
#pragma once

#include "kernels/generic/gemm_f32.h"
#include "kernels/table.h"
#include "kernels/generic/quantizers.h"
#include "kernels/generic/softmax.h"

namespace igq::kernels {
namespace {

/// mn/mx[0, n) = merged with low and high.
template <bool kFull, class V>
inline void merge_range(V low, V high, float* mn, float* mx, int n) {
  store_lanes<kFull>(V::min(low, load_lanes<kFull, V>(mn, n)), mn, n);
  store_lanes<kFull>(V::max(high, load_lanes<kFull, V>(mx, n)), mx, n);
}

// ---- quantization ------------------------------------------------------------------------------------------------

template <class V>
[[gnu::always_inline]] inline V code_of(const V& x, const V& inv_scale, const V& zero, const V& q_max) {
  const V shifted = V::round(x * inv_scale) + zero;
  return V::min(V::max(shifted, V::splat(0)), q_max);  // NaN becomes 0
}

template <class V, bool kPerRow>
void quantize(const MatrixView<const float>& x, const Quantizers& quantizers, std::uint8_t* codes,
              std::int64_t ldc) noexcept {
  const float *inv_scale = quantizers.inv_scale, *zero = quantizers.zero;
  const V top = V::splat(static_cast<float>(quantizers.q_max));
  const int rows = x.rows, cols = x.cols;
  for (int t = 0; t < rows; ++t) {
    const float* row = x.data + t * x.stride;
    std::uint8_t* out = codes + t * ldc;
    const V row_inv = kPerRow ? V::splat(inv_scale[t]) : V::splat(0);
    const V row_zero = kPerRow ? V::splat(zero[t]) : V::splat(0);
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      const V inv = kPerRow ? row_inv : load_lanes<kFull, V>(inv_scale + c, n);
      const V z = kPerRow ? row_zero : load_lanes<kFull, V>(zero + c, n);
      const V code = code_of(load_lanes<kFull, V>(row + c, n), inv, z, top);
      if constexpr (kFull)
        code.store_bytes(out + c);
      else
        code.store_bytes_part(out + c, n);
    });
  }
}

/// 1 in the first n lanes, 0 in the others.
template <bool kFull, class V>
inline V first_ones(int n) {
  static constexpr float kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return load_lanes<kFull, V>(kOnes, n);
}

/// R rows side by side. kForm as in table.h; products are small integers, exact in float.
template <class V, CodeForm kForm, int R>
inline void quantize_multiples_rows(const MatrixView<const float>& from, const Quantizers& channels, const float* m,
                                    std::uint8_t* codes, std::int64_t ldc, std::int32_t* sums) {
  using Rows = Lockstep<V, R>;
  const float *x = from.data, *inv_scale = channels.inv_scale, *zero = channels.zero;
  const std::int64_t ldx = from.stride;
  const int cols = from.cols;
  constexpr int kBlock = 4096;  // of which a lane's 256 products of up to 16 bits are exact in float
  const V top = V::splat(static_cast<float>(channels.q_max));
  for (int begin = 0; begin < cols; begin += kBlock) {
    Rows total = Rows::splat(0);
    for_columns(cols - begin < kBlock ? cols - begin : kBlock, [&]<bool kFull>(int at, int n) {
      const int c = begin + at;
      const V inv = load_lanes<kFull, V>(inv_scale + c, n), z = load_lanes<kFull, V>(zero + c, n);
      const V factor = m == nullptr ? first_ones<kFull, V>(n) : load_lanes<kFull, V>(m + c, n);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V code = code_of(load_lanes<kFull, V>(x + r * ldx + c, n), inv, z, top);
        const V product = code * factor;
        const V stored = kForm == CodeForm::kCodes ? code : product;
        if constexpr (kFull)
          stored.store_bytes(codes + r * ldc + c);
        else
          stored.store_bytes_part(codes + r * ldc + c, n);
        total.v[r] = total.v[r] + product;  // absent lanes have multiple 0
      }
    });
    if (sums == nullptr) continue;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r] += total.v[r].integer_sum();
  }
}

template <class V, CodeForm kForm>
void quantize_multiples_as(const MatrixView<const float>& x, const Quantizers& channels, const float* m,
                           std::uint8_t* codes, std::int64_t ldc, std::int32_t* sums) noexcept {
  int t = 0;
  const auto some = [&]<int R>() {
    quantize_multiples_rows<V, kForm, R>(x.rows_from(t), channels, m, codes + t * ldc, ldc,
                                         sums == nullptr ? nullptr : sums + t);
  };
  for (; t + V::kLockstep <= x.rows; t += V::kLockstep) some.template operator()<V::kLockstep>();
  for (; t < x.rows; ++t) some.template operator()<1>();
}

template <class V>
void quantize_multiples(const MatrixView<const float>& x, const Quantizers& channels, const float* m, CodeForm form,
                        std::uint8_t* codes, std::int64_t ldc, std::int32_t* sums) noexcept {
  switch (form) {
    case CodeForm::kCodes:
      return quantize_multiples_as<V, CodeForm::kCodes>(x, channels, m, codes, ldc, sums);
    case CodeForm::kProducts:
      return quantize_multiples_as<V, CodeForm::kProducts>(x, channels, m, codes, ldc, sums);
  }
}

/// Plain loops that compilers make vectors of; V names the instruction set.
template <class V>
void zero_rows(const float* zero, const float* m, int cols, std::uint8_t* rows, std::int64_t stride) noexcept {
  constexpr int kBlock = 64;
  for (int begin = 0; begin < cols; begin += kBlock) {
    std::uint32_t multiple[kBlock], shifted[kBlock];
    const int n = cols - begin < kBlock ? cols - begin : kBlock;
    const auto fill = [&](int count) __attribute__((always_inline)) {
      for (int i = 0; i < count; ++i) {
        multiple[i] = static_cast<std::uint32_t>(static_cast<std::int32_t>(m[begin + i]));
        shifted[i] =
            multiple[i] * (static_cast<std::uint32_t>(static_cast<std::int32_t>(zero[begin + i])) + kZeroOffset);
      }
      std::uint8_t* out = rows + begin;
      for (int i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(shifted[i]);
      for (int i = 0; i < count; ++i) out[stride + i] = static_cast<std::uint8_t>(shifted[i] >> 8);
      for (int i = 0; i < count; ++i) out[2 * stride + i] = static_cast<std::uint8_t>(shifted[i] >> 16);
      for (int i = 0; i < count; ++i) out[3 * stride + i] = static_cast<std::uint8_t>(multiple[i]);
    };
    if (n == kBlock)
      fill(kBlock);
    else
      fill(n);
  }
}

template <class V, bool kPerRow>
void fake_quantize(const MatrixView<float>& x, const float* scale, const Quantizers& quantizers) noexcept {
  const float *inv_scale = quantizers.inv_scale, *zero = quantizers.zero;
  const V top = V::splat(static_cast<float>(quantizers.q_max));
  const int rows = x.rows, cols = x.cols;
  for (int t = 0; t < rows; ++t) {
    float* row = x.data + t * x.stride;
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      const V s = kPerRow ? V::splat(scale[t]) : load_lanes<kFull, V>(scale + c, n);
      const V inv = kPerRow ? V::splat(inv_scale[t]) : load_lanes<kFull, V>(inv_scale + c, n);
      const V z = kPerRow ? V::splat(zero[t]) : load_lanes<kFull, V>(zero + c, n);
      const V code = code_of(load_lanes<kFull, V>(row + c, n), inv, z, top);
      store_lanes<kFull>((code - z) * s, row + c, n);
    });
  }
}

// ---- ranges ------------------------------------------------------------------------------------------------------

template <class V>
void channel_range(const float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept {
  // Four rows at a time, so that mn and mx are loaded and stored once for four values.
  for (int t = 0; t < rows; t += 4) {
    const int height = rows - t < 4 ? rows - t : 4;
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      V low = load_lanes<kFull, V>(mn + c, n), high = load_lanes<kFull, V>(mx + c, n);
      for (int i = 0; i < height; ++i) {
        const V v = load_lanes<kFull, V>(x + (t + i) * ldx + c, n);
        low = V::min(v, low);
        high = V::max(v, high);
      }
      store_lanes<kFull>(low, mn + c, n);
      store_lanes<kFull>(high, mx + c, n);
    });
  }
}

template <class V>
void row_range(const float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept {
  for (int t = 0; t < rows; ++t) {
    V low = V::splat(kInfinity), high = V::splat(-kInfinity);
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      low = V::min(load_lanes<kFull, V>(x + t * ldx + c, n, kInfinity), low);
      high = V::max(load_lanes<kFull, V>(x + t * ldx + c, n, -kInfinity), high);
    });
    mn[t] = low.min_lane();
    mx[t] = high.max_lane();
  }
}

template <class V>
void centre_channels(const float* x, std::int64_t ldx, int rows, int cols, float* mean, float* y, std::int64_t ldy,
                     float* mn, float* mx) noexcept {
  const V count = V::splat(static_cast<float>(rows));
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    V total = V::splat(0), low = V::splat(kInfinity), high = V::splat(-kInfinity);
    for (int t = 0; t < rows; ++t) total = total + load_lanes<kFull, V>(x + t * ldx + c, n);
    const V middle = total / count;
    store_lanes<kFull>(middle, mean + c, n);
    for (int t = 0; t < rows; ++t) {
      const V v = load_lanes<kFull, V>(x + t * ldx + c, n) - middle;
      store_lanes<kFull>(v, y + t * ldy + c, n);
      low = V::min(v, low);
      high = V::max(v, high);
    }
    merge_range<kFull>(low, high, mn + c, mx + c, n);
  });
}

// ---- layer norm, activations, residual ------------------------------------------------------------------------------

/// R rows side by side.
template <class V, int R>
inline void layer_norm_rows(const MatrixView<const float>& from, const LayerNorm& norm, float* const (&y)[R], float* mn,
                            float* mx) {
  using Rows = Lockstep<V, R>;
  const float *x = from.data, *gamma = norm.gamma, *beta = norm.beta;
  const std::int64_t ldx = from.stride;
  const int cols = from.cols;
  const float eps = norm.eps;
  const float count = static_cast<float>(cols);
  Rows total = Rows::splat(0), squares = total, mean, inverse;
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    total = total + Rows::make([&](int r) { return load_lanes<kFull, V>(x + r * ldx + c, n); });
  });
  float mean_value[R];
  mean = Rows::make([&](int r) { return V::splat(mean_value[r] = total.v[r].sum() / count); });
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    // Unused lanes hold the mean and add 0.
    const Rows d = Rows::make([&](int r) { return load_lanes<kFull, V>(x + r * ldx + c, n, mean_value[r]); }) - mean;
    squares = Rows::fma(d, d, squares);
  });
  inverse = Rows::make([&](int r) { return V::splat(1.0F / V::sqrt(squares.v[r].sum() / count + eps)); });
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    const V scale = load_lanes<kFull, V>(gamma + c, n), shift = load_lanes<kFull, V>(beta + c, n);
    const Rows values = Rows::make([&](int r) { return load_lanes<kFull, V>(x + r * ldx + c, n); });
    const Rows normal = (values - mean) * inverse;
    V low = V::splat(kInfinity), high = V::splat(-kInfinity);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V v = V::fma(normal.v[r], scale, shift);
      store_lanes<kFull>(v, y[r] + c, n);
      low = V::min(v, low);
      high = V::max(v, high);
    }
    if (mn != nullptr) merge_range<kFull>(low, high, mn + c, mx + c, n);
  });
}

template <class V>
void layer_norm(const MatrixView<const float>& x, const LayerNorm& norm, float* y, std::int64_t ldy,
                const std::int32_t* y_rows, float* mn, float* mx) noexcept {
  int t = 0;
  const auto some = [&]<int R>() {
    float* to[R];
    for (int r = 0; r < R; ++r) to[r] = y + (y_rows == nullptr ? t + r : y_rows[t + r]) * ldy;
    layer_norm_rows<V, R>(x.rows_from(t), norm, to, mn, mx);
  };
  for (; t + V::kLockstep <= x.rows; t += V::kLockstep) some.template operator()<V::kLockstep>();
  for (; t < x.rows; ++t) some.template operator()<1>();
}

template <class V, Activation kKind, int R>
inline void activate_rows(float* x, std::int64_t ldx, int cols, float* mn, float* mx) {
  using Rows = Lockstep<V, R>;
  for_columns(cols, [&]<bool kFull>(int c, int n) {
    const Rows v = activation<kKind>(Rows::make([&](int r) { return load_lanes<kFull, V>(x + r * ldx + c, n); }));
    V low = V::splat(kInfinity), high = V::splat(-kInfinity);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      store_lanes<kFull>(v.v[r], x + r * ldx + c, n);
      low = V::min(v.v[r], low);
      high = V::max(v.v[r], high);
    }
    if (mn != nullptr) merge_range<kFull>(low, high, mn + c, mx + c, n);
  });
}

template <class V, Activation kKind>
void activate_as(float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept {
  int t = 0;
  for (; t + V::kLockstep <= rows; t += V::kLockstep)
    activate_rows<V, kKind, V::kLockstep>(x + t * ldx, ldx, cols, mn, mx);
  for (; t < rows; ++t) activate_rows<V, kKind, 1>(x + t * ldx, ldx, cols, mn, mx);
}

template <class V>
void activate(Activation kind, float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept {
  switch (kind) {
    case Activation::kGelu:
      return activate_as<V, Activation::kGelu>(x, ldx, rows, cols, mn, mx);
    case Activation::kGeluTanh:
      return activate_as<V, Activation::kGeluTanh>(x, ldx, rows, cols, mn, mx);
    case Activation::kQuickGelu:
      return activate_as<V, Activation::kQuickGelu>(x, ldx, rows, cols, mn, mx);
    case Activation::kSilu:
      return activate_as<V, Activation::kSilu>(x, ldx, rows, cols, mn, mx);
    case Activation::kRelu:
      return activate_as<V, Activation::kRelu>(x, ldx, rows, cols, mn, mx);
  }
}

template <class V>
void add_residual(float* x, std::int64_t ldx, const float* r, std::int64_t ldr, int rows, int cols,
                  const float* gamma) noexcept {
  for (int t = 0; t < rows; ++t)
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      const V old = load_lanes<kFull, V>(x + t * ldx + c, n), v = load_lanes<kFull, V>(r + t * ldr + c, n);
      const V sum = gamma != nullptr ? V::fma(load_lanes<kFull, V>(gamma + c, n), v, old) : old + v;
      store_lanes<kFull>(sum, x + t * ldx + c, n);
    });
}

template <class V>
void swiglu(const float* x, std::int64_t ldx, int rows, int cols, float* y, std::int64_t ldy) noexcept {
  for (int t = 0; t < rows; ++t)
    for_columns(cols, [&]<bool kFull>(int c, int n) {
      const V gate = activation<Activation::kSilu>(load_lanes<kFull, V>(x + t * ldx + c, n));
      store_lanes<kFull>(gate * load_lanes<kFull, V>(x + t * ldx + cols + c, n), y + t * ldy + c, n);
    });
}

template <class V>
void fill_float_kernels(Kernels& table) {
  table.pack_f32 = pack_f32<V>;
  table.gemm_f32 = gemm_f32<V>;
  table.quantize_channels = quantize<V, false>;
  table.quantize_multiples = quantize_multiples<V>;
  table.zero_rows = zero_rows<V>;
  table.range_quantizers = range_quantizers<V>;
  table.scale_quantizers = scale_quantizers<V>;
  table.quantize_rows = quantize<V, true>;
  table.fake_quantize_channels = fake_quantize<V, false>;
  table.fake_quantize_rows = fake_quantize<V, true>;
  table.channel_range = channel_range<V>;
  table.centre_channels = centre_channels<V>;
  table.row_range = row_range<V>;
  table.layer_norm = layer_norm<V>;
  table.activate = activate<V>;
  table.softmax_rows = softmax_rows<V>;
  table.softmax_exp = softmax_exp<V>;
  table.softmax_codes = softmax_codes<V>;
  table.softmax_row_codes = softmax_row_codes<V>;
  table.add_residual = add_residual<V>;
  table.swiglu = swiglu<V>;
}

}  // namespace
}  // namespace igq::kernels
