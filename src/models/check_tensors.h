// Whether a checkpoint holds exactly the tensors that a network needs.
#pragma once

#include "models/config.h"
#include "models/weight_names.h"

namespace igq {

/// One Error that names every tensor that is missing, extra or of another shape than the network of `config` needs;
/// those that differ in the number of their block only are written as one, "blocks.{0-11}.ls1.gamma". The position
/// embedding may be of any image size.
void check_tensors(const RenamedTensors& tensors, const ModelConfig& config);

}  // namespace igq
