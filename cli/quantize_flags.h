// The flags that decide how a model is quantized, shared by quantize, bench --arch and table.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/quantize_model.h"

namespace igq::cli {

struct QuantizeFlags {
  std::string bits = "w8a8";
  std::string groups = "8";
  /// Empty settings follow the preset.
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

  /// `with_grid`: also --bits, --groups and --grouping, which `table` takes as lists.
  void add_to(CLI::App& app, bool with_grid = true);
  /// Error names the flag that is wrong.
  QuantizeJob job() const;
  /// Error when --keep or --site-bits fits no site of `model`.
  void check_sites(const Model& model) const;
  /// The options given on the command line that change nothing under job(): one line each, what and why.
  std::vector<std::string> without_effect() const;
  /// Error with the first of them.
  void check_effects() const;
  /// The first option given that decides how a model is quantized; empty when none is: for models that are already.
  std::string first_given() const;

 private:
  bool given(const std::string& option) const;
  const CLI::App* app_ = nullptr;  ///< whose options these are
  bool with_grid_ = true;
};

}  // namespace igq::cli
