// exp and the activation functions on 16 lanes, inlined by force as Vec16 is. NaN in gives NaN out. Coefficients:
// tools/fit_polynomials.py.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

constexpr float kRoundingShift = 12582912.0F;  ///< 1.5 * 2^23: adding it rounds to an integer, kept in the low bits

/// 2^(i / 16), less i * 2^19 in its bits as lookup_exp2 wants it.
alignas(64) inline constexpr float kExp2Less[16] = {
    1.0F,         0.990886867F, 0.982753873F, 0.97564429F,  0.969603539F, 0.964678884F, 0.960919797F, 0.958377779F,
    0.957106769F, 0.957163095F, 0.958605409F, 0.961495161F, 0.965896428F, 0.971876085F, 0.979504049F, 0.988853276F};

/// exp(x) for x <= 88 within 1.5e-7 relative, below -87.3 within 1.2e-38; exactly 1 at 0 and exactly 0 from -88.03
/// down. x is n sixteenths of ln 2 and a rest: 2^(n / 16) comes from a table, and the rest's exponential from three
/// terms.
template <class V>
[[gnu::always_inline]] inline V exp_to_88(const V& x) {
  constexpr float kLowest = -88.0296936F;  // 2^-127, which lookup_exp2 makes 0
  constexpr float kSixteenthHigh = 0.693359375F / 16,
                  kSixteenthLow = -2.12194440e-4F / 16;  // of ln 2; the high part times n is exact
  const V clamped = V::max(V::splat(kLowest), x);        // NaN passes
  const V shifted = V::fma(clamped, V::splat(23.0831203F), V::splat(kRoundingShift));
  const V n = shifted - V::splat(kRoundingShift);
  V r = V::fnma(n, V::splat(kSixteenthHigh), clamped);
  r = V::fnma(n, V::splat(kSixteenthLow), r);
  const V power = V::lookup_exp2(kExp2Less, shifted);
  const V p = V::fma(V::fma(V::splat(0.166670382F), r, V::splat(0.500016212F)), r, V::splat(1));  // (exp(r) - 1) / r
  return V::fma(power * r, p, power);
}

/// What exp2_for_codes is made of; AVX-512 has an instruction for its last step (softmax_avx512.h).
constexpr float kSixteenthShift =
    786432.0F;  ///< 1.5 * 2^19: adding it rounds to sixteenths, whose number is kept in the low bits
constexpr float kLowestExponent = -120.0F;
constexpr float kExp2Rest[] = {0.693187833F, 0.240235806F};  ///< 2^r = 1 + r (c0 + r c1) for |r| of up to a 32nd

/// 2^y within 5e-7 relative; below -120 as for -120, which is nothing beside a row's largest value. For softmax that
/// becomes codes.
template <class V>
[[gnu::always_inline]] inline V exp2_for_codes(const V& y) {
  const V clamped = V::max(V::splat(kLowestExponent), y);  // NaN passes
  const V shifted = clamped + V::splat(kSixteenthShift);
  const V r = clamped - (shifted - V::splat(kSixteenthShift)), power = V::lookup_exp2(kExp2Less, shifted);
  return V::fma(power * r, V::fma(V::splat(kExp2Rest[1]), r, V::splat(kExp2Rest[0])), power);
}

/// x / (1 + exp(-u)): SiLU with u = x, quick GELU with u = 1.702 x, tanh GELU with u = 2 * its argument. exp is taken
/// of -|u| so that it never overflows; the limits are x and -0, for infinite x too.
template <class V>
[[gnu::always_inline]] inline V times_sigmoid(const V& x, const V& u) {
  const V e = exp_to_88(V::splat(0) - V::abs(u));
  const V numerator = V::select(V::less(u, V::splat(0)), e, V::splat(1));
  return V::max(V::splat(-1e30F), x) * (numerator / (V::splat(1) + e));
}

/// Exact (erf) GELU within 1.7e-7 |x|: max(x, 0) - |x| Q(|x|), Q(a) = erfc(a / sqrt 2) / 2, from 16 pieces: piece n
/// holds a nearest to n * kUnit and is a polynomial of the distance from there. From |x| = 5.5 on it is exactly x or 0.
template <class V>
[[gnu::always_inline]] inline V gelu(const V& x) {
  constexpr float kPerUnit = 2.63636374F, kUnit = 0.37931034F, kTop = 5.6896553F;
  alignas(64) static constexpr float kCoefficients[][16] = {
      {0.5F, 0.352228731F, 0.224039748F, 0.127574652F, 0.0646028742F, 0.028943561F, 0.0114271315F, 0.00396339362F,
       0.00120474317F, 0.000320326653F, 7.43884448e-05F, 1.50696478e-05F, 2.66046027e-06F, 4.08992008e-07F,
       5.47125047e-08F, 0.0F},
      {-0.39894104F, -0.371248394F, -0.299185693F, -0.208801404F, -0.126194522F, -0.0660479888F, -0.0299355574F,
       -0.0117495144F, -0.00399348699F, -0.00117538159F, -0.000299566513F, -6.61131853e-05F, -1.2634413e-05F,
       -2.09066775e-06F, -2.99548816e-07F, 0.0F},
      {-5.21594266e-05F, 0.0704069138F, 0.113481469F, 0.118798278F, 0.095732756F, 0.0626319796F, 0.0340654254F,
       0.0155993002F, 0.00605961215F, 0.00200652098F, 0.000568251591F, 0.000137962037F, 2.87643161e-05F,
       5.15696092e-06F, 7.9582793e-07F, 0.0F},
      {0.0672631711F, 0.0526738837F, 0.0211791173F, -0.0100215534F, -0.0271244012F, -0.0284465663F, -0.0208384618F,
       -0.0118931346F, -0.00551231764F, -0.00211793813F, -0.000682634301F, -0.000185964571F, -4.30387299e-05F,
       -8.49294338e-06F, -1.43284126e-06F, 0.0F},
      {-0.00468161795F, -0.0165919773F, -0.0227496233F, -0.0168031789F, -0.00561326556F, 0.00302787265F, 0.00612822128F,
       0.00524865976F, 0.00314299809F, 0.00145916187F, 0.000547145843F, 0.000169216932F, 4.37024282e-05F, 9.501161e-06F,
       1.748513e-06F, 0.0F}};
  const V a = V::min(V::splat(kTop), V::abs(x));  // NaN passes
  const V shifted = V::fma(a, V::splat(kPerUnit), V::splat(kRoundingShift));
  const V t = V::fnma(shifted - V::splat(kRoundingShift), V::splat(kUnit), a);
  V q = V::lookup(kCoefficients[4], shifted);
  for (int k = 3; k >= 0; --k) q = V::fma(q, t, V::lookup(kCoefficients[k], shifted));
  return V::fnma(a, q, V::max(V::splat(0), x));
}

template <Activation kKind, class V>
[[gnu::always_inline]] inline V activation(const V& x) {
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
