// What a calibration that was interrupted leaves beside its output, so that the same command goes on from there: a
// folder with one small .igq file per finished layer. Files appear whole or not at all, and say by their provenance
// (weights, images, settings, version) which run they belong to; those of other runs and damaged ones are not used.
#pragma once

#include <filesystem>
#include <string>

#include "calibration/refined_layers.h"
#include "models/igq_file.h"
#include "models/model.h"

namespace igq {

/// "<output>.calibration", or a short name with a checksum where that is longer than file systems allow.
std::filesystem::path calibration_state_path(const std::filesystem::path& output);

/// Where measurements of an allocation are kept in the folder of the state.
std::filesystem::path perturbation_state(const std::filesystem::path& folder);

/// Removes what runs have kept in the folder for the layers of `model`, and the folder when nothing else lies in it.
/// Never throws, never follows a link that is the folder itself.
void remove_calibration_state(const std::filesystem::path& folder, const Model& model) noexcept;

/// Removes the folder when it is empty: what a run that failed before it kept anything has made. Never throws.
void remove_empty_state_folder(const std::filesystem::path& folder) noexcept;

/// Makes the folder. False when that is not possible, or when it is a link or no folder.
bool make_state_folder(const std::filesystem::path& folder);

class CalibrationState final : public RefinedLayers {
 public:
  /// Layers in `folder` that a run with this provenance has finished.
  CalibrationState(std::filesystem::path folder, Provenance provenance, const ModelConfig& config);

  std::optional<RefinedLayer> find(const std::string& site) override;
  void keep(const std::string& site, const RefinedLayer& layer) override;

  int found() const { return found_; }
  /// Why layers could not be kept (the calibration goes on without); empty when they could.
  const std::string& trouble() const { return trouble_; }

 private:
  std::filesystem::path file_of(const std::string& site) const;

  std::filesystem::path folder_;
  Provenance provenance_;
  ModelConfig config_;
  int found_ = 0;
  std::string trouble_;
};

}  // namespace igq
