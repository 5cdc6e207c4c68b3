// Names of CLIP's and SigLIP's vision towers (transformers, open_clip) as timm's, which the rest of igq reads.
#pragma once

#include "models/config.h"
#include "models/weight_names.h"
#include "models/weight_parts.h"

namespace igq {

/// Whether these are the weights of a CLIP or SigLIP: by the name of the patch embedding.
bool is_clip(const TensorSource& stored);

/// Moves the vision tower, its projection ("projection.weight") and a classifier to `out` or, unchanged, to `names`
/// (timm's name -> stored one). The text tower and what belongs to it are left out by name.
void take_clip(RenamedTensors& out, const TensorSource& stored, const ModelConfig& config, TensorNames& names);

}  // namespace igq
