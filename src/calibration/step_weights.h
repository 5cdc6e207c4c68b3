// The simulated weights of one step of a model at a time: for those who walk many images step by step and need not hold
// those of all steps, which take as much memory as the float ones.
#pragma once

#include "models/model.h"

namespace igq {

/// Prepares the layers of `step` for simulation under the model's plan.
void prepare_simulated(Model& model, int step, const kernels::Kernels& kernels);

/// Frees what prepare_simulated() made.
void forget_simulated(Model& model, int step);

}  // namespace igq
