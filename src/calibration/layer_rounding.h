// The weights of one layer, chosen by what they do to inputs that are handed over bit by bit: the mathematics of
// refine.h without the way through the network.
#pragma once

#include <span>

#include "calibration/calibrate.h"
#include "calibration/moments.h"

namespace igq {

struct LayerRounding {
  WeightPlan weight;
  AlignedBuffer<float> shift;  ///< what the bias takes up, [out] padded to whole panels; empty without a bias
  WeightMethod method = WeightMethod::kNearest;
  double error = 0.0;     ///< squared error of the layer's output from rounding its weights, over the output's square
  bool alike = false;     ///< the inputs hardly differ: weights are rounded as if all mattered alike
  std::size_t bytes = 0;  ///< memory held for this
};

/// How many of the last images `auto` compares on: an eighth, none of fewer than four images.
std::int64_t rounding_held_back(WeightMethod method, std::int64_t images);

/// bias + shift; `shift` may be longer.
AlignedBuffer<float> moved_bias(std::span<const float> bias, const AlignedBuffer<float>& shift);

/// Replaces rows of one image by what the planned quantizers make of them; mn, mx [channels] are the image's ranges.
void fake_quantize(const ActivationPlan& plan, const kernels::Kernels& kernels, const kernels::MatrixView<float>& x,
                   const float* mn, const float* mx, Arena& arena);

class LayerRounder {
 public:
  /// weight [out][in]. `kernels`, `pool` and `options` must outlive it.
  LayerRounder(AlignedBuffer<float> weight, int in, int out, bool has_bias, const QuantizeOptions& options,
               const kernels::Kernels& kernels, ThreadPool& pool);

  /// Inputs of the layer as the quantized network has them, [rows][in], and what its quantizers make of them. The
  /// first is overwritten. `held_back`: WeightMethod::kAuto compares on them, nothing is learnt from them.
  void add(float* exact, const float* coded, int rows, bool held_back);
  /// `nearest`: the weights rounded to nearest. Nothing can be added afterwards.
  LayerRounding round(WeightPlan nearest);

 private:
  AlignedBuffer<float> pack(const AlignedBuffer<float>& weight) const;
  void multiply(const float* x, std::int64_t rows, const float* packed, const float* bias, float* y);
  bool regularize(Eigen::MatrixXd& h) const;
  double held_error(const WeightPlan& plan, const AlignedBuffer<float>& shift);
  void add_compensation(const Eigen::MatrixXd& h, AlignedBuffer<float>& wanted) const;
  template <typename Use>
  void each_weight(const WeightPlan& plan, const Use& use) const;
  AlignedBuffer<float> bias_shift(const WeightPlan& plan) const;

  AlignedBuffer<float> weight_, packed_, gap_;
  int in_, out_;
  bool has_bias_;
  const QuantizeOptions& options_;
  const kernels::Kernels& kernels_;
  ThreadPool& pool_;
  Moments moments_;
  double square_ = 0.0;  // of the layer's target output, without bias
  // The inputs on images held back, and what the output should have beside X_hat W^T.
  std::vector<float> held_coded_, held_gap_;
};

}  // namespace igq
