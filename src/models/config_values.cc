#include "models/config_values.h"

#include <charconv>
#include <utility>

#include "base/fail.h"
#include "io/json_fields.h"

namespace igq {

using kernels::Activation;
using nlohmann::json;

std::array<int, 2> json_pair(const json& value, std::string_view what, int min, int max) {
  const auto integer = [&](const json& v) { return static_cast<int>(json_int(v, what, min, max)); };
  if (!value.is_array()) return {integer(value), integer(value)};
  if (value.size() != 2) fail("'{}' is neither an integer nor a pair", what);
  return {integer(value[0]), integer(value[1])};
}

std::array<double, 3> json_rgb(const json& value, std::string_view what) {
  const auto number = [&](const json& v) {
    json_float(v, what);  // finite, also as float
    return v.get<double>();
  };
  if (value.is_number()) return {number(value), number(value), number(value)};
  if (json_array(value, what, 3).size() != 3) fail("'{}' does not have 3 entries", what);
  return {number(value[0]), number(value[1]), number(value[2])};
}

std::string json_label(const json& value, std::string_view what) {
  if (value.is_number() || value.is_boolean()) return value.dump();
  return json_string(value, what);
}

Activation parse_activation(std::string_view name, std::string_view what) {
  static constexpr std::array<std::pair<std::string_view, Activation>, 11> kNames{
      {{"gelu", Activation::kGelu},
       {"gelu_python", Activation::kGelu},
       {"gelu_tanh", Activation::kGeluTanh},
       {"gelu_new", Activation::kGeluTanh},
       {"gelu_fast", Activation::kGeluTanh},
       {"gelu_pytorch_tanh", Activation::kGeluTanh},
       {"quick_gelu", Activation::kQuickGelu},
       {"quickgelu", Activation::kQuickGelu},
       {"silu", Activation::kSilu},
       {"swish", Activation::kSilu},
       {"relu", Activation::kRelu}}};
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  fail("'{}' is '{}', igq has gelu, gelu_tanh, quick_gelu, silu and relu", what, name);
}

std::vector<std::string> labels_by_index(const json& object, std::string_view what, int classes,
                                         std::vector<std::string>& notes) {
  if (!object.is_object()) fail("'{}' is not an object", what);
  std::vector<std::string> labels;
  for (int i = 0; i < classes; ++i) labels.push_back(fmt::format("{}", i));
  std::vector<bool> named(labels.size());
  std::string outside;
  for (const auto& [key, name] : object.items()) {
    int index = -1;
    const char* end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end)
      fail("'{}' has a key '{}', which is no number of a class", what, key);
    if (index < 0 || index >= classes) {
      if (outside.size() < 60) outside += fmt::format("{}{}", outside.empty() ? "" : ", ", key);
      continue;
    }
    named[static_cast<std::size_t>(index)] = true;
    if (!name.is_null()) labels[static_cast<std::size_t>(index)] = json_label(name, what);
  }
  if (!outside.empty())
    notes.push_back(fmt::format("'{}' names class {} of a model with classes 0 to {}: these names belong to no class",
                                what, outside, classes - 1));
  return labels;
}

}  // namespace igq
