// Reads tests/fixtures/quant: cases made by an independent numpy implementation (tools/make_quant_fixtures.py).
#pragma once

#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "quant/uniform.h"
#include "tests/test_util.h"

namespace igq::test {

inline nlohmann::json quant_cases(const std::string& file) {
  std::ifstream in(fixtures() / "quant" / (file + ".json"));
  return nlohmann::json::parse(in);
}

/// A number, or one of the words that stand for what JSON lacks.
inline float number(const nlohmann::json& value) {
  if (!value.is_string()) return value.get<float>();
  if (value == "nan") return std::numeric_limits<float>::quiet_NaN();
  return value == "inf" ? std::numeric_limits<float>::infinity() : -std::numeric_limits<float>::infinity();
}

/// A list, or a list of rows one after the other.
inline std::vector<float> numbers(const nlohmann::json& values) {
  std::vector<float> result;
  for (const auto& value : values) {
    if (!value.is_array()) {
      result.push_back(number(value));
      continue;
    }
    for (const auto& inner : value) result.push_back(number(inner));
  }
  return result;
}

inline std::vector<int> integers(const nlohmann::json& values) {
  std::vector<int> result;
  for (const float v : numbers(values)) result.push_back(static_cast<int>(v));
  return result;
}

inline std::vector<Bounds> bounds_list(const nlohmann::json& values) {
  std::vector<Bounds> result;
  for (const auto& pair : values) result.push_back({number(pair[0]), number(pair[1])});
  return result;
}

}  // namespace igq::test
