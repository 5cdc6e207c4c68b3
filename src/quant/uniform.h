// The uniform quantizer of the paper's section 3.1 (docs/method.md, section 2):
//   s = (u - l) / (2^b - 1),  z = rint(-l / s),  code = clip(rint(x / s) + z, 0, 2^b - 1),  x_hat = s * (code - z).
// x / s is computed as x * (1 / s) with 1 / s rounded to float once, in simulation and in integers alike; rint rounds
// half to even. Bounds are first widened to contain zero, so z always is a code and zero is represented exactly.
#pragma once

#include <cstdint>

namespace igq {

struct Bounds {
  float lower = 0.0f;
  float upper = 0.0f;
  bool operator==(const Bounds&) const = default;
};

struct UniformQuantizer {
  float scale = 1.0f;
  float inv_scale = 1.0f;
  int zero_point = 0;
  int q_max = 255;
};

/// Largest code of `bits` (2 to 8).
constexpr int code_max(int bits) { return (1 << bits) - 1; }

/// Limits of a zero-point that is free to lie outside the codes (grouping by scale), in plans that are not `unclipped`;
/// they keep integer sums of 16,384 channels exact in int32: |code - zero_point| <= 1023.
inline constexpr int kZeroPointMin = -768, kZeroPointMax = 1023;
/// The same where a channel that would need more takes a wider group: codes and zero-points are added up as words.
inline constexpr int kZeroPointLimit = 32000;

/// Degenerate bounds have one behaviour each: all zero (or so narrow that 1 / scale is not finite) gives scale 1 and
/// zero-point 0, everything becomes 0; a constant c gives [0, c] or [c, 0], c is an end of the codes. Bounds must be
/// finite (calibration refuses NaN and infinity, naming the site).
UniformQuantizer make_quantizer(Bounds bounds, int bits);

/// Limits of zero-points, and what a range's distance from zero counts as in terms of a width: a scale whose codes hold
/// max(upper - lower, offset_width * |lower + upper|) keeps the zero-point within the limits.
struct ZeroPointLimits {
  float min = kZeroPointMin, max = kZeroPointMax;
  float offset_width = 0.0f;
};

/// Zero-point free to leave the codes: [lower, upper] is placed in the middle of the codes of the given scale.
UniformQuantizer make_centred_quantizer(Bounds bounds, float scale, int bits, ZeroPointLimits limits = {});

/// code of one value, as the kernels compute it; NaN gives 0.
int quantize(float x, const UniformQuantizer& q);
inline float dequantize(int code, const UniformQuantizer& q) {
  return static_cast<float>(code - q.zero_point) * q.scale;
}

}  // namespace igq
