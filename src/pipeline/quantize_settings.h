// How a model is to be quantized, in the words of the command line: what its flags, the public API's options and the
// Python package's keywords mean.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/quantize_model.h"

namespace igq {

/// One field per flag, named after it ("--first-last-bits"); empty settings follow the preset.
struct QuantizeSettings {
  std::string bits = "w8a8";
  std::string groups = "8";
  std::string preset, grouping;
  int average_groups = 8;
  double budget_gbops = 0.0;
  std::string average_bits;  ///< with bits "auto"; empty: "4"
  double file_size = 0.0;    ///< MB, likewise
  std::string perturbation_cache;
  bool measure_all = false;
  std::string bounds;
  std::string weights;
  std::string softmax, qkv;
  int first_last_bits = 8;
  std::optional<double> weight_quantile;
  std::optional<int> weight_groups;
  std::string keep;
  std::vector<std::string> site_bits;
  bool balance = false;
  bool centre_v = false, centre_k = false;
  std::string scales;  ///< empty: the preset's
  int views = 4;
  double ridge = 0.05;
  bool reconstruct = false;
  double reconstruct_minutes = 0.0;
  std::uint64_t seed = 0;

  /// Sets the field of the flag `name` (without dashes) as the command line would; of a switch "true" or "false".
  /// Error: no such flag, or no value that it takes.
  void set(const std::string& name, const std::string& value);
  /// Error names the flag that is wrong.
  QuantizeJob job() const;
};

/// "w4a4" -> {4, 4}; bits 2 to 8 each. Error otherwise.
std::pair<int, int> parse_bits(const std::string& text);
/// 0 for "auto".
int parse_groups(const std::string& text);
/// "row" is a scale per row.
Grouping parse_softmax(const std::string& text);
/// "REGEX=w6a6".
std::pair<std::string, std::pair<int, int>> parse_site_bits(const std::string& text);
/// "4" or "w3.5a4": of weights and of activations; "a4": of activations, where weights have a budget in bytes.
std::pair<double, double> parse_average_bits(const std::string& text);
std::uint64_t parse_seed(const std::string& text);

}  // namespace igq
