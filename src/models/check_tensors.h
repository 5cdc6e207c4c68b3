// Whether a checkpoint or an .igq file holds exactly the tensors that a network needs.
#pragma once

#include "models/config.h"
#include "models/weight_names.h"
#include "quant/plan.h"

namespace igq {

/// One Error that names every tensor that is missing, extra or of another shape than the network of `config` needs;
/// those that differ in the number of their block only are written as one, "blocks.{0-11}.ls1.gamma". The position
/// embedding may be of any image size.
void check_tensors(const RenamedTensors& tensors, const ModelConfig& config);

/// The same of a quantized model (Error without a path) whose float tensors have the shapes `floats` and whose weight
/// codes, by site, `codes` ([in, out]): a weight that is held as codes has the network's shape and no float tensor
/// beside it, every other tensor of the network is there (of a `part` of a model: any of them), there are no others,
/// and all sites of `plan` are the network's.
void check_quantized(const std::map<std::string, Shape>& floats, const std::map<std::string, Shape>& codes,
                     const ModelConfig& config, const QuantizationPlan& plan, bool part = false);

}  // namespace igq
