// ModelConfig <-> JSON in igq's own form, as the .igq header stores it.
#pragma once

#include "base/json.h"
#include "models/config.h"

namespace igq {

/// Every field that the family uses, under its own name.
nlohmann::json config_to_json(const ModelConfig& config);
/// The inverse. A field that is missing keeps its default (files of the same version may be older than the field),
/// except architecture, family, classes and image size. Error (without a path) on a value out of range.
ModelConfig config_from_json(const nlohmann::json& json);

}  // namespace igq
