// Zero-shot classification without a text encoder: over a fixed set of labels, whose text embeddings somebody computed
// once, CLIP's scores are a linear head on the embedding divided by its length (Radford et al., 2021, section 3.1.2):
// logits = logit_scale * (t / |t|) (e / |e|).
#pragma once

#include <filesystem>

#include "models/load_model.h"

namespace igq {

struct ZeroShotLabels {
  std::filesystem::path names;       ///< a text file, a label in each line
  std::filesystem::path embeddings;  ///< .npy [labels, width of the embedding], of any length each
  double logit_scale = 100.0;        ///< exp of the checkpoint's logit_scale; CLIP's and LAION's is 100
};

/// Makes a classifier of an encoder, float or quantized (the head of a quantized one stays float). Error: the model has
/// classes already, is no ViT, or names and embeddings do not fit each other or the model.
void add_zero_shot_head(LoadedModel& model, const ZeroShotLabels& labels);

}  // namespace igq
