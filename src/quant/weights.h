// Weight quantization, per output channel, asymmetric (docs/method.md, section 5).
#pragma once

#include <span>

#include "quant/plan.h"

namespace igq {

/// Bounds of each output channel: the eps and 1 - eps quantiles of its weights (linear interpolation, as
/// numpy.quantile). weight [out][in].
std::vector<Bounds> weight_bounds(std::span<const float> weight, int in, int out, double eps);
std::vector<UniformQuantizer> weight_quantizers(std::span<const float> weight, int in, int out, int bits, double eps);

/// Round to nearest.
WeightPlan quantize_weights(std::span<const float> weight, int in, int out, int bits, double eps);

/// scale and zero_point of `quantizers`, codes not yet filled ([in][out] allocated).
WeightPlan make_weight_plan(const std::vector<UniformQuantizer>& quantizers, int in, int bits);

}  // namespace igq
