// exp and the activation functions on 16 lanes. NaN in gives NaN out. Coefficients: tools/fit_polynomials.py.
#pragma once

#include "kernels/kernels.h"

namespace igq::kernels {
namespace {

template <class V, int N>
inline V polynomial(V x, const float (&c)[N]) {
  V r = V::splat(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) r = V::fma(r, x, V::splat(c[i]));
  return r;
}

/// exp(x) for x <= 88 within 1.5e-7 relative; exactly 1 at 0 and exactly 0 below -87 (true value < 1.7e-38).
template <class V>
inline V exp_to_88(V x) {
  constexpr float kLowest = -87.0F;
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;  // high part times n is exact
  constexpr float kCoefficients[] = {1.0F,         1.0F,           0.49999994F,   0.166665211F,
                                     0.041668389F, 0.00836871658F, 0.00138145988F};
  const V clamped = V::max(V::splat(kLowest), x);  // NaN passes
  const V shifted = V::fma(clamped, V::splat(1.44269504F), V::splat(kShift));
  const V n = shifted - V::splat(kShift);
  V r = V::fnma(n, V::splat(kLn2High), clamped);
  r = V::fnma(n, V::splat(kLn2Low), r);
  const V p = polynomial(r, kCoefficients) * V::exp2_of_shifted(shifted);
  return V::select(V::less(x, V::splat(kLowest)), V::splat(0), p);
}

/// x / (1 + exp(-u)): SiLU with u = x, quick GELU with u = 1.702 x, tanh GELU with u = 2 * its argument. exp is taken
/// of -|u| so that it never overflows; the limits are x and -0, for infinite x too.
template <class V>
inline V times_sigmoid(V x, V u) {
  const V e = exp_to_88(V::splat(0) - V::abs(u));
  const V numerator = V::select(V::less(u, V::splat(0)), e, V::splat(1));
  return V::max(V::splat(-1e30F), x) * (numerator / (V::splat(1) + e));
}

/// Exact (erf) GELU within 2.1e-7 |x|: max(x, 0) - |x| Q(|x|), Q(a) = erfc(a / sqrt 2) / 2 = s^2 S(2 s - 1) with
/// s = max(0, 1 - a / 5.5). From |x| = 5.5 on it is exactly x or 0.
template <class V>
inline V gelu(V x) {
  constexpr float kReach = 5.5F;
  constexpr float kCoefficients[] = {0.0119189313F, 0.0761951134F, 0.213943332F,  0.323131919F, 0.226937309F,
                                     -0.068275772F, -0.29293555F,  -0.219115391F, 0.0685101599F, 0.218213335F,
                                     0.0459523574F, -0.105384827F, -0.0245491657F, 0.0254582129F};
  const V zero = V::splat(0);
  const V a = V::abs(x);
  const V s = V::max(zero, V::fma(a, V::splat(-1 / kReach), V::splat(1)));
  const V t = V::fma(s, V::splat(2), V::splat(-1));
  const V q = polynomial(t, kCoefficients) * s * s;
  return V::fnma(V::min(V::splat(kReach), a), q, V::max(zero, x));
}

template <Activation kKind, class V>
inline V activation(V x) {
  if constexpr (kKind == Activation::kGelu) return gelu(x);
  if constexpr (kKind == Activation::kGeluTanh) {
    // 0.5 x (1 + tanh(v)) = x sigmoid(2 v), v = sqrt(2 / pi) (x + 0.044715 x^3)
    const V cubic = V::fma(x * x, V::splat(0.044715F * 1.5957691216F), V::splat(1.5957691216F));
    return times_sigmoid(x, x * cubic);
  }
  if constexpr (kKind == Activation::kQuickGelu) return times_sigmoid(x, V::splat(1.702F) * x);
  if constexpr (kKind == Activation::kSilu) return times_sigmoid(x, x);
  if constexpr (kKind == Activation::kRelu) return V::max(V::splat(0), x);
}

}  // namespace
}  // namespace igq::kernels
