// Values that timm's and transformers' config.json spell alike: sizes, colours, activations, labels by index.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace igq {

/// An integer n -> {n, n}, or a list [height, width]. Error naming `what` outside [min, max].
std::array<int, 2> json_pair(const nlohmann::json& value, std::string_view what, int min, int max);
/// A list of three numbers, or one for all three.
std::array<float, 3> json_rgb(const nlohmann::json& value, std::string_view what);
/// timm's and transformers' names: gelu, gelu_tanh, gelu_new, quick_gelu, silu, swish, relu ... Error naming `what`.
kernels::Activation parse_activation(std::string_view name, std::string_view what);
/// {"0": "cat", ...} -> names by index; an index without a name gets its number. Error for an index outside
/// [0, classes).
std::vector<std::string> labels_by_index(const nlohmann::json& object, std::string_view what, int classes);

}  // namespace igq
