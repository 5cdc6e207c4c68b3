// Fields of a configuration object with the defaults of transformers' classes, whose exports may leave a default out; a
// null counts as left out, as transformers' own classes read it.
#pragma once

#include <array>
#include <vector>

#include "base/json.h"
#include "io/json_fields.h"
#include "models/config_values.h"

namespace igq {

class ConfigFields {
 public:
  explicit ConfigFields(const nlohmann::json& object) : object_(object) {}
  int integer(const char* name, int otherwise, int min, int max) const {
    const nlohmann::json* value = json_find(object_, name);
    return value == nullptr ? otherwise : static_cast<int>(json_int(*value, name, min, max));
  }
  float number(const char* name, float otherwise) const {
    const nlohmann::json* value = json_find(object_, name);
    return value == nullptr ? otherwise : json_float(*value, name);
  }
  bool flag(const char* name, bool otherwise) const {
    const nlohmann::json* value = json_find(object_, name);
    return value == nullptr ? otherwise : json_bool(*value, name);
  }
  std::array<int, 2> pair(const char* name, int otherwise, int max) const {
    const nlohmann::json* value = json_find(object_, name);
    return value == nullptr ? std::array<int, 2>{otherwise, otherwise} : json_pair(*value, name, 1, max);
  }
  std::vector<int> integers(const char* name, std::vector<int> otherwise) const {
    const nlohmann::json* value = json_find(object_, name);
    if (value == nullptr) return otherwise;
    std::vector<int> result;
    for (const nlohmann::json& v : json_array(*value, name, 8))
      result.push_back(static_cast<int>(json_int(v, name, 1, 4096)));
    return result;
  }
  kernels::Activation activation() const {
    const nlohmann::json* value = json_find(object_, "hidden_act");
    return value == nullptr ? kernels::Activation::kGelu
                            : parse_activation(json_string(*value, "hidden_act"), "hidden_act");
  }

  /// The field, or nullptr when it is missing or null.
  const nlohmann::json* find(const char* name) const { return json_find(object_, name); }

 private:
  const nlohmann::json& object_;
};

}  // namespace igq
