#include "io/json_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "base/fail.h"

namespace igq {

using nlohmann::json;

namespace {

/// Builds the document value by value. json::parse with a callback does the same, but looks through all members of an
/// object at the end of each of them, which takes minutes for some ten thousand.
class DocumentBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit DocumentBuilder(const JsonLimits& limits) : limits_(limits) {}
  json take() { return std::move(document_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return add(value); }
  bool number_unsigned(std::uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(json::binary_t& value) override { return add(json::binary(std::move(value))); }  // never in text
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    const auto [at, fresh] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!fresh) fail("it holds two entries called '{}'", name);
    member_ = &at->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& fault) override {
    std::string_view text = fault.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    if (const auto at = text.find("] "); text.starts_with('[') && at != text.npos) text.remove_prefix(at + 2);
    fail("its JSON does not parse: {}", text);
  }

 private:
  json* place(json value) {
    if (++values_ > limits_.values) fail("its JSON has more than {} values", limits_.values);
    if (open_.empty()) return &(document_ = std::move(value));
    if (open_.back()->is_object()) return &(*member_ = std::move(value));
    auto& list = open_.back()->get_ref<json::array_t&>();
    list.push_back(std::move(value));
    return &list.back();  // stays where it is until it is closed: only then does its list grow
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  bool open(json container) {
    if (open_.size() > limits_.depth) fail("its JSON is nested deeper than {}", limits_.depth);
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  json document_;
  std::vector<json*> open_;  ///< the objects and lists around the next value
  json* member_ = nullptr;   ///< of the innermost object, whose key was read
  std::size_t values_ = 0;
};

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

json parse_json(std::string_view text, const JsonLimits& limits) {
  DocumentBuilder builder(limits);
  json::sax_parse(text, &builder);
  return builder.take();
}

}  // namespace igq
