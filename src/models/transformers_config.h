// config.json and preprocessor_config.json of transformers' image classifiers -> ModelConfig.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config.h"

namespace igq {

/// Whether `config` is one of transformers: it lists `architectures` or a `model_type`.
bool is_transformers_config(const nlohmann::json& config);

/// The model of ViTForImageClassification, DeiTForImageClassification (with teacher or without),
/// SwinForImageClassification, Dinov2ForImageClassification and Dinov2WithRegistersForImageClassification.
/// `preprocessor` (preprocessor_config.json) may be null: then what the class's own image processor does by default.
/// The image size is that of the processor's output. Error (without a path) naming the field for another class and for
/// values whose computation igq does not have.
ModelConfig transformers_config(const nlohmann::json& config, const nlohmann::json& preprocessor);

}  // namespace igq
