// Weights chosen by what they do to the calibration images, layer by layer in the order of the model. A layer's inputs
// X are those of the quantized model: everything before the layer is quantized already; X_hat is what the layer's own
// activation quantizer makes of them. Its weights become
//   W' = argmin |X W^T - X_hat W'^T|^2 + lambda |W' - W|^2                     (erq; W' = W for gptq)
// the ridge compensation of the activation error of ERQ (Zhong et al., ICML 2024); then the codes are rounded to W' in
// the metric X_hat^T X_hat + lambda (rounding.h), and the bias takes up the mean error, so that all moments are about
// the mean. Aiming at the float model's X instead, as some do, was worse: it fits the accumulated error of a few
// images. `auto` tries rounding to nearest, gptq and erq and keeps what leaves the least error of the layer's output on
// the last eighth of the images, which none of them has seen.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "calibration/calibrate.h"
#include "calibration/refined_layers.h"
#include "models/model.h"

namespace igq {

struct RefineProgress {
  std::string site;  ///< the layer just finished
  int done = 0, total = 0;
  WeightMethod method = WeightMethod::kGptq;  ///< how its weights were rounded
  double error = 0.0;     ///< squared error of the layer's output from rounding its weights, over the output's square
  std::size_t bytes = 0;  ///< memory held for this
  /// The layer's inputs hardly differ from each other (one image, images of one colour, the single row of the head):
  /// its weights are rounded as if all inputs mattered alike.
  bool alike = false;
  bool found = false;  ///< not worked on: an earlier run had finished it
};

struct RefineHooks {
  std::function<void(const RefineProgress&)> progress;  ///< after each layer
  RefinedLayers* finished = nullptr;                    ///< asked for each layer before it is worked on, told after
};

/// Biases that changed, by tensor name ("blocks.0.attn.qkv.bias"); the caller stores them beside the plan.
using BiasMap = std::map<std::string, AlignedBuffer<float>>;

/// Rewrites the weights of `plan`, which make_plan() made for `model` from these images and options. load(i, image)
/// gives image i of `images`. The model is left with `plan` attached and with the new biases; prepare() it before the
/// next pass. The result does not depend on the number of threads, nor on how many layers hooks.finished knew. Error
/// from `load`.
BiasMap refine_weights(Model& model, const std::shared_ptr<QuantizationPlan>& plan, const QuantizeOptions& options,
                       std::int64_t images, const std::function<void(std::int64_t, float*)>& load, Isa isa,
                       ThreadPool& pool, const RefineHooks& hooks = {});

}  // namespace igq
