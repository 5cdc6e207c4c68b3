// From the MODEL argument to a detector: which files a folder holds, whose configuration it is.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "detectors/detector.h"
#include "models/igq_file.h"

namespace igq {

/// What makes a network of tensors: configuration files, or a name.
struct DetectorDescription {
  std::string architecture;     ///< "mask_rcnn_swin_t_fpn"; empty where there is a configuration
  nlohmann::json config;        ///< config.json: mmdetection's resolved form, or transformers'; else null
  nlohmann::json preprocessor;  ///< preprocessor_config.json; null without
};

/// The tensors of a checkpoint by igq's names (detector_tensors.h).
std::shared_ptr<const TensorSource> detector_tensors(const DetectorDescription& description,
                                                     std::shared_ptr<const TensorSource> stored);

/// The network; `plan` supplies weights that `tensors` do not hold. Error naming what is missing, unknown or misshapen.
std::unique_ptr<Detector> build_network(const DetectorDescription& description, const TensorSource& tensors,
                                        const std::shared_ptr<const QuantizationPlan>& plan);
/// The same, with the plan attached. Error for tensors of no use too.
std::unique_ptr<Detector> build_detector(const DetectorDescription& description,
                                         std::shared_ptr<const TensorSource> tensors,
                                         std::shared_ptr<const QuantizationPlan> plan = nullptr);

/// A detector with all that is needed to quantize it or to say where it came from.
struct LoadedDetector {
  std::unique_ptr<Detector> detector;
  DetectorDescription description;
  std::shared_ptr<const TensorSource> tensors;  ///< by igq's names
  std::string name;                             ///< as locate_model() says
  bool quantized = false;                       ///< from an .igq file; only then:
  Provenance provenance;
  nlohmann::json report = nlohmann::json::object();
};

/// Whether `path` (a folder, a .safetensors file with its config.json beside it, or an .igq file) or `architecture`
/// names a detector; false for whatever cannot be read, which is then the classifiers' to complain about.
bool is_detector(const std::filesystem::path& path, const std::string& architecture);

/// A folder with config.json (mmdetection's resolved form, or transformers' YOLOS or DETR with
/// preprocessor_config.json) and model.safetensors, or a .safetensors file, where `architecture` names the network
/// unless a config.json is beside it; or an .igq file. Error naming what is missing, unknown or misshapen.
LoadedDetector load_detector(const std::filesystem::path& path, const std::string& architecture = {});
/// The detector alone.
std::unique_ptr<Detector> open_detector(const std::filesystem::path& path, const std::string& architecture = {});

}  // namespace igq
