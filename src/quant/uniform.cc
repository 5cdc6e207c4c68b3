#include "quant/uniform.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace igq {

UniformQuantizer make_quantizer(Bounds bounds, int bits) {
  assert(bits >= 2 && bits <= 8);
  const int q_max = code_max(bits);
  const float lower = std::min(bounds.lower, 0.0f), upper = std::max(bounds.upper, 0.0f);
  const float scale = (upper - lower) / static_cast<float>(q_max);
  const float inv_scale = 1.0f / scale;
  if (!(scale > 0.0f) || !std::isfinite(scale) || !std::isfinite(inv_scale)) return {1.0f, 1.0f, 0, q_max};
  const float zero = std::clamp(std::nearbyint(-lower * inv_scale), 0.0f, static_cast<float>(q_max));
  return {scale, inv_scale, static_cast<int>(zero), q_max};
}

void make_quantizers(const float* lower, const float* upper, int count, int bits, float* scale, float* inv_scale, float* zero) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto q_max = static_cast<float>(code_max(bits));
  for (int i = 0; i < count; ++i) {
    const float low = lower[i] < 0.0f ? lower[i] : 0.0f, high = upper[i] > 0.0f ? upper[i] : 0.0f;
    const float s = (high - low) / q_max, inverse = 1.0f / s;
    const bool usable = (s > 0.0f) & (s < kInfinity) & (inverse < kInfinity);
    const float exact = -low * inverse, limited = exact < q_max ? exact : q_max;
    scale[i] = usable ? s : 1.0f;
    inv_scale[i] = usable ? inverse : 1.0f;
    zero[i] = usable ? round_small(limited) : 0.0f;
  }
}

UniformQuantizer make_centred_quantizer(Bounds bounds, float scale, int bits) {
  const int q_max = code_max(bits);
  const float inv_scale = 1.0f / scale;
  const float zero = centred_zero(bounds.lower, bounds.upper, inv_scale, static_cast<float>(q_max) * 0.5f);
  return {scale, inv_scale, static_cast<int>(zero), q_max};
}

int quantize(float x, const UniformQuantizer& q) {
  const float code = std::nearbyint(x * q.inv_scale) + static_cast<float>(q.zero_point);
  if (!(code > 0.0f)) return 0;
  return code < static_cast<float>(q.q_max) ? static_cast<int>(code) : q.q_max;
}

}  // namespace igq
