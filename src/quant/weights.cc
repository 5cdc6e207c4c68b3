#include "quant/weights.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace igq {
namespace {

float quantile(const std::vector<float>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto i = static_cast<std::size_t>(at);
  const std::size_t j = std::min(i + 1, sorted.size() - 1);
  const double t = at - static_cast<double>(i);
  return static_cast<float>(static_cast<double>(sorted[i]) * (1.0 - t) + static_cast<double>(sorted[j]) * t);
}

}  // namespace

std::vector<Bounds> weight_bounds(std::span<const float> weight, int in, int out, double eps) {
  assert(weight.size() == static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
  std::vector<Bounds> result(static_cast<std::size_t>(out));
  std::vector<float> row(static_cast<std::size_t>(in));
  for (std::size_t n = 0; n < result.size(); ++n) {
    std::copy_n(weight.data() + n * row.size(), row.size(), row.data());
    std::sort(row.begin(), row.end());
    result[n] = {quantile(row, eps), quantile(row, 1.0 - eps)};
  }
  return result;
}

std::vector<UniformQuantizer> weight_quantizers(std::span<const float> weight, int in, int out, int bits, double eps) {
  std::vector<UniformQuantizer> result;
  for (const Bounds& b : weight_bounds(weight, in, out, eps)) result.push_back(make_quantizer(b, bits));
  return result;
}

WeightPlan make_weight_plan(const std::vector<UniformQuantizer>& quantizers, int in, int bits) {
  WeightPlan plan;
  plan.bits = bits;
  for (const UniformQuantizer& q : quantizers) {
    plan.scale.push_back(q.scale);
    plan.zero_point.push_back(q.zero_point);
  }
  plan.codes.resize_zero(quantizers.size() * static_cast<std::size_t>(in));
  return plan;
}

WeightPlan quantize_weights(std::span<const float> weight, int in, int out, int bits, double eps) {
  const std::vector<UniformQuantizer> quantizers = weight_quantizers(weight, in, out, bits, eps);
  WeightPlan plan = make_weight_plan(quantizers, in, bits);
  const int offset = 1 << (bits - 1);
  for (int n = 0; n < out; ++n)
    for (int k = 0; k < in; ++k) {
      const int code =
          quantize(weight[static_cast<std::size_t>(n) * static_cast<std::size_t>(in) + static_cast<std::size_t>(k)],
                   quantizers[static_cast<std::size_t>(n)]);
      plan.codes[static_cast<std::size_t>(k) * static_cast<std::size_t>(out) + static_cast<std::size_t>(n)] =
          static_cast<std::int8_t>(code - offset);
    }
  return plan;
}

}  // namespace igq
