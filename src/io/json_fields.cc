#include "io/json_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/fail.h"

namespace igq {

using nlohmann::json;

namespace {
constexpr int kMaxDepth = 64;
}  // namespace

const json& json_at(const json& object, std::string_view key) {
  if (!object.is_object()) fail("'{}' is looked for in what is not an object", key);
  const auto found = object.find(key);
  if (found == object.end()) fail("'{}' is missing", key);
  return *found;
}

const json* json_find(const json& object, std::string_view key) {
  if (!object.is_object()) fail("'{}' is looked for in what is not an object", key);
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::int64_t json_int(const json& value, std::string_view what, std::int64_t min, std::int64_t max) {
  if (!value.is_number_integer()) fail("'{}' is not an integer", what);
  const bool huge = value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX};
  if (huge || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) {
    fail("'{}' is {}, not between {} and {}", what, value.dump(), min, max);
  }
  return value.get<std::int64_t>();
}

std::uint64_t json_uint64(const json& value, std::string_view what) {
  if (!value.is_number_unsigned()) fail("'{}' is not an integer of 0 or more", what);
  return value.get<std::uint64_t>();
}

float json_float(const json& value, std::string_view what) {
  if (!value.is_number()) fail("'{}' is not a number", what);
  const double number = value.get<double>();
  // Out of float's range the conversion is undefined, so compare first.
  if (!(std::abs(number) <= 3.4028234663852886e38)) fail("'{}' is not finite", what);
  return static_cast<float>(number);
}

bool json_bool(const json& value, std::string_view what) {
  if (!value.is_boolean()) fail("'{}' is neither true nor false", what);
  return value.get<bool>();
}

const std::string& json_string(const json& value, std::string_view what) {
  if (!value.is_string()) fail("'{}' is not a text", what);
  return value.get_ref<const std::string&>();
}

const json& json_array(const json& value, std::string_view what, std::size_t max_size) {
  if (!value.is_array()) fail("'{}' is not a list", what);
  if (value.size() > max_size) fail("'{}' has {} entries, at most {} are allowed", what, value.size(), max_size);
  return value;
}

void json_only(const json& object, std::string_view what, std::span<const std::string_view> known) {
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw UnknownField(fmt::format("{} has a field '{}', which this igq does not know", what, key));
    }
  }
}

void json_only(const json& object, std::string_view what, std::initializer_list<std::string_view> known) {
  json_only(object, what, std::span(known.begin(), known.size()));
}

json float_to_json(float value) {
  std::array<char, 64> text{};
  const auto printed = std::to_chars(text.data(), text.data() + text.size(), value);
  double number = 0.0;
  std::from_chars(text.data(), printed.ptr, number);
  // The text is the shortest for float; read as double and rounded to float it could in principle land on a
  // neighbour (two roundings), then the exact double serves.
  if (static_cast<float>(number) != value) number = static_cast<double>(value);
  return number;
}

json parse_json(std::string_view text) {
  const auto limit_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) fail("its JSON is nested deeper than {}", kMaxDepth);
    return true;
  };
  try {
    return json::parse(text, limit_depth);
  } catch (const json::exception& e) {
    fail("its JSON does not parse: {}", e.what());
  }
}

}  // namespace igq
