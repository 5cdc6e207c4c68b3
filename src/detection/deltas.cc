#include "detection/deltas.h"

#include <cmath>

namespace igq::detection {
namespace {

/// Comparisons that keep NaN, as torch's clamp does.
float clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

float exp_rounded(float v) { return static_cast<float>(std::exp(static_cast<double>(v))); }

}  // namespace

Box decode_delta(const DeltaCoder& coder, const Box& reference, const float* delta, float image_width,
                 float image_height) noexcept {
  std::array<float, 4> d;
  for (int i = 0; i < 4; ++i) d[i] = delta[i] * coder.stds[i] + coder.means[i];
  const float limit = coder.max_log_ratio;
  const float w = reference.width(), h = reference.height();
  const float x = (reference.x1 + reference.x2) * 0.5f + w * d[0];
  const float y = (reference.y1 + reference.y2) * 0.5f + h * d[1];
  const float half_w = w * exp_rounded(clamp(d[2], -limit, limit)) * 0.5f;
  const float half_h = h * exp_rounded(clamp(d[3], -limit, limit)) * 0.5f;
  return {clamp(x - half_w, 0.0f, image_width), clamp(y - half_h, 0.0f, image_height),
          clamp(x + half_w, 0.0f, image_width), clamp(y + half_h, 0.0f, image_height)};
}

std::array<float, 4> encode_delta(const DeltaCoder& coder, const Box& reference, const Box& target) noexcept {
  const float w = reference.width(), h = reference.height();
  std::array<float, 4> d = {((target.x1 + target.x2) * 0.5f - (reference.x1 + reference.x2) * 0.5f) / w,
                            ((target.y1 + target.y2) * 0.5f - (reference.y1 + reference.y2) * 0.5f) / h,
                            std::log(target.width() / w), std::log(target.height() / h)};
  for (int i = 0; i < 4; ++i) d[i] = (d[i] - coder.means[i]) / coder.stds[i];
  return d;
}

}  // namespace igq::detection
