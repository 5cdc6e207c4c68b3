#include "detectors/open_detector.h"

#include <algorithm>

#include "base/json.h"
#include "base/fail.h"
#include "base/file.h"
#include "detectors/detector_tensors.h"
#include "detectors/detr.h"
#include "detectors/mmdet_config.h"
#include "detectors/two_stage.h"
#include "detectors/yolos.h"
#include "io/json_fields.h"
#include "models/checkpoint.h"
#include "models/hub_cache.h"

namespace igq {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfig = std::uint64_t{64} << 20;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

fs::path config_of(const fs::path& path) {
  std::error_code ignored;
  return (fs::is_directory(path, ignored) ? path : path.parent_path()) / "config.json";
}

/// The transformers class of a configuration; empty when it names none.
std::string transformers_class(const json& config) {
  if (!config.is_object() || !config.contains("architectures")) return {};
  const json& names = config.at("architectures");
  return names.is_array() && !names.empty() && names[0].is_string() ? names[0].get<std::string>() : std::string();
}

bool is_named_detector(const std::string& name) {
  const std::vector<std::string> names = two_stage_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_detector_config(const json& config) {
  return is_mmdet_config(config) || transformers_class(config).ends_with("ForObjectDetection");
}

std::unique_ptr<Detector> build(const json& config, const json& preprocessor,
                                std::shared_ptr<const TensorSource> stored) {
  std::shared_ptr<const TensorSource> tensors;
  std::unique_ptr<Detector> detector;
  if (is_mmdet_config(config)) {
    const auto watched = std::make_shared<WatchedTensors>(mmdet_tensors(std::move(stored)));
    detector = std::make_unique<TwoStage>(mmdet_config(config), ModelBuilder(*watched, nullptr));
    watched->check_all_read();
  } else if (transformers_class(config) == "YolosForObjectDetection") {
    const auto watched = std::make_shared<WatchedTensors>(yolos_tensors(std::move(stored)));
    detector = std::make_unique<Yolos>(yolos_config(config, preprocessor), ModelBuilder(*watched, nullptr));
    watched->check_all_read();
  } else if (transformers_class(config) == "DetrForObjectDetection") {
    const auto watched = std::make_shared<WatchedTensors>(detr_tensors(std::move(stored)));
    detector = std::make_unique<Detr>(detr_config(config, preprocessor, *watched), ModelBuilder(*watched, nullptr));
    watched->check_all_read();
  } else {
    fail(
        "its class is {}: igq computes YolosForObjectDetection, DetrForObjectDetection and mmdetection's MaskRCNN and "
        "CascadeRCNN with Swin",
        transformers_class(config));
  }
  return detector;
}

}  // namespace

bool is_detector(const fs::path& path, const std::string& architecture) {
  if (is_named_detector(architecture)) return true;
  try {
    const fs::path file = config_of(model_path(path));
    if (!is_file(file)) return false;
    return is_detector_config(parse_json(read_file(file, kMaxConfig)));
  } catch (const Error&) {
    return false;
  }
}

std::unique_ptr<Detector> open_detector(const fs::path& named, const std::string& architecture) {
  const fs::path path = model_path(named);
  const auto stored = open_weights(path);
  const fs::path file = config_of(path);
  if (!is_file(file)) {
    if (architecture.empty()) fail("{} has no config.json beside it: name the network with --arch", path.string());
    const auto watched = std::make_shared<WatchedTensors>(mmdet_tensors(stored));
    const std::optional<TwoStageConfig> config = named_two_stage(architecture, *watched);
    if (!config) fail("--arch {} is no detector that igq knows: {}", architecture, fmt::join(two_stage_names(), ", "));
    auto detector = std::make_unique<TwoStage>(*config, ModelBuilder(*watched, nullptr));
    watched->check_all_read();
    return detector;
  }
  std::string fault;
  try {
    const json config = parse_json(read_file(file, kMaxConfig));
    if (!architecture.empty()) fail("it says what the model is; --arch {} cannot replace it", architecture);
    const fs::path processor = file.parent_path() / "preprocessor_config.json";
    return build(config, is_file(processor) ? parse_json(read_file(processor, kMaxConfig)) : json(nullptr), stored);
  } catch (const Error& e) {
    fault = e.what();
  }
  if (fault.starts_with(path.string())) fail("{}", fault);
  fail("{} cannot be used: {}", file.string(), fault);
}

}  // namespace igq
