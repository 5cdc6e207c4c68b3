// How far a detector's outputs are from those of another pass over the same regions: the loss a detector is trained
// with, with the other pass for the truth (docs/method.md, section 6). For regions i, with p the float pass's
// probabilities, q the other's, f_i the float probability that region i is an object, and d its box deltas in units of
// the coder's standard deviations:
//
//   D = ( sum_i KL(p_i || q_i) + sum_i f_i |d_i' - d_i|^2 / 2 ) / max(1, sum_i f_i)  +  mean over pixels KL(mask)
//
// in nats per object. As a classifier's divergence it is 0 for equals and grows with the square of small errors.
#pragma once

#include <cstddef>
#include <span>

namespace igq {

class OutputDivergence {
 public:
  /// Regions with `classes` logits each, softmax, the last of them "no object"; deltas [regions][4] for all classes
  /// together, or [regions][classes - 1][4].
  void add_classes(std::span<const float> float_logits, std::span<const float> logits, std::size_t classes,
                   std::span<const float> float_deltas, std::span<const float> deltas);
  /// Regions with one logit each, sigmoid: object or not; deltas [regions][4].
  void add_objectness(std::span<const float> float_logits, std::span<const float> logits,
                      std::span<const float> float_deltas, std::span<const float> deltas);
  /// Pixels of masks, sigmoid.
  void add_masks(std::span<const float> float_logits, std::span<const float> logits);

  /// The sum over what was added since the last call of end_stage(), per object, is added to the result.
  void end_stage();
  double result() const { return total_; }

 private:
  double loss_ = 0.0, objects_ = 0.0, total_ = 0.0;
};

}  // namespace igq
