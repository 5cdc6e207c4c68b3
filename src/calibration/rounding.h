// Second-order rounding of one layer's weights. The codes minimise, per output channel,
//   E(w_hat) = (w_hat - w)^T H (w_hat - w),   w_hat = scale * (code - zero_point) or scale * m * (code - z) with weight
//   groups,
// where H is the (regularised) second moment of the layer's quantized inputs.
//
// With H = R^T R, R upper triangular, E = |R (w_hat - w)|^2 and Babai's nearest-plane rounding goes through the inputs
// from the last to the first, each absorbing the errors of those before it. This is GPTQ (Frantar et al., 2023) run
// without the inverse of H. Around it the clipping of each output channel is searched.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "quant/plan.h"

namespace igq {

struct RoundingOptions {
  int bits = 4;
  double quantile = 0.0;  ///< bounds before clipping: the eps and 1 - eps quantiles of the channel's weights
  std::vector<float> clipping = {1.0f};  ///< factors of the bounds to try; the best is kept per output channel
  int group_size =
      0;  ///< inputs per weight group (quant/weight_groups.h), its bounds those of least error; 0: no groups
};

struct Rounded {
  WeightPlan plan;
  std::vector<double> error;  ///< [out]: E
};

/// What to add to the diagonal of h next, when with `before` more it is not positive definite: inputs that are all
/// alike, or fewer than there are channels, leave second moments that rounding errors make indefinite. Error when h is
/// not finite.
double more_damping(const Eigen::MatrixXd& h, double before);

/// w [out][in]; h [in][in] symmetric, positive definite up to rounding errors. The result does not depend on the number
/// of threads. Error when h is not finite.
Rounded round_weights(const Eigen::MatrixXd& h, std::span<const float> w, int in, int out,
                      const RoundingOptions& options, const kernels::Kernels& kernels, ThreadPool& pool);

}  // namespace igq
