// Folders of images as the verbs take them: listed with a line about what is left out, labelled with a line about what
// is assumed.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/image_folder.h"
#include "models/config.h"

namespace igq::cli {

/// list_images, with its notes on standard error.
ImageFolder open_folder(const std::string& path);

/// --class-order: which class of the model a class folder holds.
struct ClassFlags {
  std::string order = "auto";

  void add_to(CLI::App& app);
  /// map_labels, with its notes on standard error. Error in doubt.
  void label(ImageFolder& folder, const ModelConfig& config) const;
  /// For verbs that can do without labels: false, with a line that says why, where label() would be in doubt under
  /// auto.
  bool try_label(ImageFolder& folder, const ModelConfig& config) const;
};

/// The files of samples.
std::vector<std::filesystem::path> paths_of(const std::vector<Sample>& samples);

/// What open_folder read and left out: {"formats": {".png": 20}, "left_out": {".txt": 1}}.
nlohmann::json folder_json(const ImageFolder& folder);

}  // namespace igq::cli
