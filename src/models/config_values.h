// Values that timm's and transformers' config.json spell alike: sizes, colours, activations, labels by index.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kernels/table.h"

namespace igq {

/// An integer n -> {n, n}, or a list [height, width]. Error naming `what` outside [min, max].
std::array<int, 2> json_pair(const nlohmann::json& value, std::string_view what, int min, int max);
/// A list of three numbers, or one for all three.
std::array<double, 3> json_rgb(const nlohmann::json& value, std::string_view what);
/// timm's and transformers' names: gelu, gelu_tanh, gelu_new, quick_gelu, silu, swish, relu ... Error naming `what`.
kernels::Activation parse_activation(std::string_view name, std::string_view what);
/// A label: a text, or a number or truth value as text. Error for lists and objects.
std::string json_label(const nlohmann::json& value, std::string_view what);
/// {"0": "cat", ...} -> names by index; an index without a name gets its number. Names of classes outside [0, classes)
/// belong to nothing that the model says; transformers keeps them, they are left out here with a line in `notes`. Error
/// for a key that is no integer.
std::vector<std::string> labels_by_index(const nlohmann::json& object, std::string_view what, int classes,
                                         std::vector<std::string>& notes);

}  // namespace igq
