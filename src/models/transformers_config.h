// config.json and preprocessor_config.json of transformers' image classifiers -> ModelConfig.
#pragma once

#include "base/json.h"
#include "models/config.h"

namespace igq {

/// Whether `config` is one of transformers: it lists `architectures` or a `model_type`.
bool is_transformers_config(const nlohmann::json& config);

/// Whether `config` is a timm model that transformers' TimmWrapper saved: timm's configuration, transformers' loading.
bool is_timm_wrapper(const nlohmann::json& config);

/// Error naming what igq runs when `config`, one of transformers, is of another class.
void check_transformers_class(const nlohmann::json& config);

/// What transformers' pipeline does around any model: pictures turned upright, scores as `problem_type` says.
void apply_pipeline(const nlohmann::json& config, ModelConfig& out);

/// The model of ViTForImageClassification, DeiTForImageClassification (with teacher or without),
/// SwinForImageClassification, Dinov2ForImageClassification and Dinov2WithRegistersForImageClassification.
/// The class follows from `model_type`, as for AutoModelForImageClassification; `architectures` may be null.
/// `preprocessor` (preprocessor_config.json, processor_config.h) may be null: then what the class's own image processor
/// does by default. The image size is that of the processor's output; where the model takes one size only, another is
/// an Error unless `other_size` (the caller resizes the position embedding). Error (without a path) naming the field
/// for another class and for values whose computation igq does not have.
ModelConfig transformers_config(const nlohmann::json& config, const nlohmann::json& preprocessor,
                                bool other_size = false);

}  // namespace igq
