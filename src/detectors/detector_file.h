// .igq files of detectors (docs/format.md, "Detectors"): as those of classifiers, but for the configuration, which is
// the checkpoint's own, and for the shapes of all tensors of the float network.
#pragma once

#include <filesystem>
#include <memory>

#include "detectors/open_detector.h"

namespace igq {

struct QuantizedDetector {
  DetectorDescription description;
  std::shared_ptr<const QuantizationPlan> plan;
  /// Of the float network by igq's names; weights that have codes in `plan` may be among them. Biases of layers with
  /// codes are those that the layer adds: of what batch norm was folded into, and of an upsampling for each place.
  std::shared_ptr<const TensorSource> tensors;
  Provenance provenance;
  nlohmann::json report = nlohmann::json::object();
  std::unique_ptr<Detector> detector;  ///< of a file that was read: the network with its plan
};

/// Error when the plan contradicts itself or the network, when the file exists and not `overwrite`, when the disk is
/// full ...; nothing is left under `path` then, an older file stays as it was. `detector` is not looked at.
void save_detector(const std::filesystem::path& path, const QuantizedDetector& detector, bool overwrite);

/// Reads and checks everything and builds the network. Error (path, what, how to mend it) for everything a damaged file
/// can say.
QuantizedDetector load_detector_file(const std::filesystem::path& path);

/// Whether an .igq file holds a detector; Error where it cannot be read.
bool is_detector_file(const std::filesystem::path& path);

}  // namespace igq
