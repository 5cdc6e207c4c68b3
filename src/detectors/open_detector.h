// From the MODEL argument to a detector: which files a folder holds, whose configuration it is.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "detectors/detector.h"

namespace igq {

/// Whether `path` (a folder, or a .safetensors file with its config.json beside it) or `architecture` names a detector;
/// false for whatever cannot be read, which is then the classifiers' to complain about.
bool is_detector(const std::filesystem::path& path, const std::string& architecture);

/// A folder with config.json (mmdetection's resolved form, or transformers' YOLOS or DETR with
/// preprocessor_config.json) and model.safetensors, or a .safetensors file, where `architecture` names the network
/// unless a config.json is beside it. Error naming what is missing, unknown or misshapen.
std::unique_ptr<Detector> open_detector(const std::filesystem::path& path, const std::string& architecture = {});

}  // namespace igq
