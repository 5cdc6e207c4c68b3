// The flags that decide how a model is quantized, shared by quantize, bench --arch and table.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pipeline/quantize_settings.h"

namespace igq::cli {

struct QuantizeFlags : QuantizeSettings {
  /// `with_grid`: also --bits, --groups and --grouping, which `table` takes as lists.
  void add_to(CLI::App& app, bool with_grid = true);
  /// Error when --keep or --site-bits fits no site of `model`.
  void check_sites(const Network& model) const;
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
