// config.json of timm's hub layout (timm.models.save_for_hf) -> ModelConfig.
#pragma once

#include <string>

#include "base/json.h"
#include "models/config.h"

namespace igq {

/// Whether `config` is timm's: it names an `architecture`.
bool is_timm_config(const nlohmann::json& config);

/// The model that timm builds from `config`: the architecture's defaults (registry.h), then model_args, num_classes and
/// pretrained_cfg. `architecture`, when not empty, replaces the one that the file names. An architecture that the
/// registry lacks works when its name begins with vit_, deit or swin_ and model_args gives width, depth and heads.
/// Error (without a path) naming the field for values and arguments whose computation igq does not have.
ModelConfig timm_config(const nlohmann::json& config, const std::string& architecture = {});

}  // namespace igq
