// preprocessor_config.json (or the image_processor of processor_config.json) of transformers -> PreprocessConfig: what
// AutoImageProcessor makes of it in its PIL backend, resize, centre crop, rescale and normalize.
#pragma once

#include <array>
#include <string_view>

#include "base/json.h"
#include "io/preprocess.h"

namespace igq {

/// Pixels of one side of a picture that a configuration may name.
inline constexpr int kMaxImage = 1 << 16;

/// Fills `out` (not its orientation) and gives height and width of the processor's output. `config` is an object, or
/// null for all defaults; fields that are missing have the defaults of the class that it names, else of
/// `default_class`; null is Python's None: off for a switch, an Error for a value that a step needs. Old names are
/// known (ViTFeatureExtractor, CLIPImageProcessorFast). Error (without a path) naming the class or the field that igq
/// cannot follow.
std::array<int, 2> processor_config(const nlohmann::json& config, std::string_view default_class,
                                    PreprocessConfig& out);

}  // namespace igq
