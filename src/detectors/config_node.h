// A place in a configuration file: fields with defaults, checked, whose faults name the path within the file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fail.h"
#include "io/json_fields.h"

namespace igq {

class ConfigNode {
 public:
  ConfigNode(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  std::string name_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  /// null (Python's None) counts as missing.
  bool has(std::string_view key) const { return json_find(*value_, key) != nullptr; }
  ConfigNode at(std::string_view key) const {
    const nlohmann::json* found = json_find(*value_, key);
    if (found == nullptr) fail("'{}' is missing", name_of(key));
    return {*found, name_of(key)};
  }
  /// Entry `i` of an array, or the value itself where one stands for all.
  ConfigNode stage(std::size_t i, std::size_t count) const {
    if (!value_->is_array()) return *this;
    if (value_->size() != count) fail("'{}' has {} entries, there are {} stages", path_, value_->size(), count);
    return {(*value_)[i], fmt::format("{}[{}]", path_, i)};
  }

  int integer(std::string_view key, int otherwise, int min, int max) const {
    return has(key) ? static_cast<int>(json_int(at(key).json(), name_of(key), min, max)) : otherwise;
  }
  float number(std::string_view key, float otherwise, float min, float max) const {
    if (!has(key)) return otherwise;
    const float value = json_float(at(key).json(), name_of(key));
    if (!(value >= min && value <= max)) fail("'{}' is {}, it must be from {} to {}", name_of(key), value, min, max);
    return value;
  }
  bool flag(std::string_view key, bool otherwise) const {
    return has(key) ? json_bool(at(key).json(), name_of(key)) : otherwise;
  }
  std::string text(std::string_view key, std::string otherwise) const {
    return has(key) ? json_string(at(key).json(), name_of(key)) : otherwise;
  }
  std::vector<int> integers(std::string_view key, std::vector<int> otherwise, int min, int max) const {
    if (!has(key)) return otherwise;
    std::vector<int> result;
    for (const nlohmann::json& v : json_array(at(key).json(), name_of(key), 64))
      result.push_back(static_cast<int>(json_int(v, name_of(key), min, max)));
    return result;
  }
  std::vector<float> numbers(std::string_view key, std::vector<float> otherwise) const {
    if (!has(key)) return otherwise;
    std::vector<float> result;
    for (const nlohmann::json& v : json_array(at(key).json(), name_of(key), 64))
      result.push_back(json_float(v, name_of(key)));
    return result;
  }
  template <std::size_t N>
  std::array<float, N> numbers(std::string_view key, std::array<float, N> otherwise) const {
    if (!has(key)) return otherwise;
    const std::vector<float> values = numbers(key, std::vector<float>());
    if (values.size() != N) fail("'{}' must have {} numbers", name_of(key), N);
    std::array<float, N> result;
    for (std::size_t i = 0; i < N; ++i) result[i] = values[i];
    return result;
  }

  /// Error unless the field is missing, null, or this value: igq computes nothing else.
  void only(std::string_view key, const nlohmann::json& value) const {
    if (!has(key) || at(key).json() == value) return;
    fail("'{}' is {}: igq computes {} only", name_of(key), at(key).json().dump(), value.dump());
  }
  /// Error unless `type` is one of these.
  void type(std::initializer_list<std::string_view> known) const {
    const std::string name = json_string(at("type").json(), name_of("type"));
    for (const std::string_view k : known)
      if (name == k) return;
    fail("'{}' is {}: igq computes {}", name_of("type"), name, fmt::join(known, ", "));
  }

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace igq
