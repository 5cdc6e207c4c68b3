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

std::array<float, 3> json_rgb(const json& value, std::string_view what) {
  if (value.is_number()) return {json_float(value, what), json_float(value, what), json_float(value, what)};
  if (json_array(value, what, 3).size() != 3) fail("'{}' does not have 3 entries", what);
  return {json_float(value[0], what), json_float(value[1], what), json_float(value[2], what)};
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

std::vector<std::string> labels_by_index(const json& object, std::string_view what, int classes) {
  if (!object.is_object()) fail("'{}' is not an object", what);
  std::vector<std::string> labels;
  for (int i = 0; i < classes; ++i) labels.push_back(fmt::format("{}", i));
  for (const auto& [key, name] : object.items()) {
    int index = -1;
    const char* end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end || index < 0 || index >= classes) {
      fail("'{}' names class '{}' of {}", what, key, classes);
    }
    labels[static_cast<std::size_t>(index)] = json_string(name, what);
  }
  return labels;
}

}  // namespace igq
