// Strict reading of JSON from files: nlohmann's get<T>() turns -1 into a huge unsigned and 1.5 into 1; these throw
// Error naming the field. The caller adds the path. Also float numbers that survive the round trip through text.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "igq/error.h"

namespace igq {

/// A field that this version does not know. It may change what the model computes, so the file is refused.
class UnknownField : public Error {
 public:
  using Error::Error;
};

/// object[key], Error when `object` is not an object or has no such key.
const nlohmann::json& json_at(const nlohmann::json& object, std::string_view key);
/// object[key], or nullptr when it is missing or null (Python's None). Error when `object` is not an object.
const nlohmann::json* json_find(const nlohmann::json& object, std::string_view key);
/// An integer in [min, max]; `what` names it in the error.
std::int64_t json_int(const nlohmann::json& value, std::string_view what, std::int64_t min, std::int64_t max);
std::uint64_t json_uint64(const nlohmann::json& value, std::string_view what);
/// A number that is finite as float.
float json_float(const nlohmann::json& value, std::string_view what);
bool json_bool(const nlohmann::json& value, std::string_view what);
const std::string& json_string(const nlohmann::json& value, std::string_view what);
const nlohmann::json& json_array(const nlohmann::json& value, std::string_view what, std::size_t max_size);

/// A JSON number that prints with the fewest digits that read back as exactly this float ("0.1", not
/// "0.10000000149011612"). The value must be finite.
nlohmann::json float_to_json(float value);

/// UnknownField when `object` has a key that is not in `known` (what is no object has none); `what` names it in the
/// text.
void json_only(const nlohmann::json& object, std::string_view what, std::span<const std::string_view> known);
void json_only(const nlohmann::json& object, std::string_view what, std::initializer_list<std::string_view> known);

/// What a text may ask of the machine before anything in it is looked at.
struct JsonLimits {
  std::size_t depth = 64;         ///< objects and lists around a value
  std::size_t values = 1u << 21;  ///< numbers, texts, objects ... in all; each costs some tens of bytes of memory
};

/// Parses text from a file in time proportional to its length: Error (no path) on syntax faults, on what is beyond the
/// limits and on objects that name a key twice, of which the second would hide the first.
nlohmann::json parse_json(std::string_view text, const JsonLimits& limits = {});

}  // namespace igq
