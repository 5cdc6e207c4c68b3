#include "quant/uniform.h"

#include <algorithm>
#include <cassert>
#include <cmath>

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

UniformQuantizer make_centred_quantizer(Bounds bounds, float scale, int bits, ZeroPointLimits limits) {
  const int q_max = code_max(bits);
  const float inv_scale = 1.0f / scale;
  const float exact = static_cast<float>(q_max) * 0.5f - (bounds.lower + bounds.upper) * 0.5f * inv_scale;
  const float limited = exact > limits.min ? exact : limits.min;  // NaN gives the lowest
  return {scale, inv_scale, static_cast<int>(std::nearbyint(limited < limits.max ? limited : limits.max)), q_max};
}

int quantize(float x, const UniformQuantizer& q) {
  const float code = std::nearbyint(x * q.inv_scale) + static_cast<float>(q.zero_point);
  if (!(code > 0.0f)) return 0;
  return code < static_cast<float>(q.q_max) ? static_cast<int>(code) : q.q_max;
}

}  // namespace igq
