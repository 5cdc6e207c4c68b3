#include "detectors/open_detector.h"

#include <algorithm>

#include "base/json.h"
#include "base/fail.h"
#include "base/file.h"
#include "detectors/detector_file.h"
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

enum class Kind { kTwoStage, kYolos, kDetr };

/// Error for what igq does not compute.
Kind kind_of(const DetectorDescription& description) {
  if (!description.architecture.empty() || is_mmdet_config(description.config)) return Kind::kTwoStage;
  const std::string name = transformers_class(description.config);
  if (name == "YolosForObjectDetection") return Kind::kYolos;
  if (name == "DetrForObjectDetection") return Kind::kDetr;
  fail(
      "its class is {}: igq computes YolosForObjectDetection, DetrForObjectDetection and mmdetection's MaskRCNN and "
      "CascadeRCNN with Swin",
      name);
}

TwoStageConfig two_stage_config(const DetectorDescription& description, const TensorSource& tensors) {
  if (description.architecture.empty()) return mmdet_config(description.config);
  const std::optional<TwoStageConfig> config = named_two_stage(description.architecture, tensors);
  if (!config)
    fail("--arch {} is no detector that igq knows: {}", description.architecture, fmt::join(two_stage_names(), ", "));
  return *config;
}

}  // namespace

std::shared_ptr<const TensorSource> detector_tensors(const DetectorDescription& description,
                                                     std::shared_ptr<const TensorSource> stored) {
  switch (kind_of(description)) {
    case Kind::kYolos:
      return yolos_tensors(std::move(stored));
    case Kind::kDetr:
      return detr_tensors(std::move(stored));
    case Kind::kTwoStage:
      break;
  }
  return mmdet_tensors(std::move(stored));
}

std::unique_ptr<Detector> build_network(const DetectorDescription& description, const TensorSource& tensors,
                                        const std::shared_ptr<const QuantizationPlan>& plan) {
  const ModelBuilder builder(tensors, plan);
  switch (kind_of(description)) {
    case Kind::kYolos:
      return std::make_unique<Yolos>(yolos_config(description.config, description.preprocessor), builder);
    case Kind::kDetr:
      return std::make_unique<Detr>(detr_config(description.config, description.preprocessor, tensors), builder);
    case Kind::kTwoStage:
      break;
  }
  return std::make_unique<TwoStage>(two_stage_config(description, tensors), builder);
}

std::unique_ptr<Detector> build_detector(const DetectorDescription& description,
                                         std::shared_ptr<const TensorSource> tensors,
                                         std::shared_ptr<const QuantizationPlan> plan) {
  const auto watched = std::make_shared<WatchedTensors>(std::move(tensors));
  std::unique_ptr<Detector> detector = build_network(description, *watched, plan);
  watched->check_all_read();
  if (plan != nullptr) detector->set_plan(std::move(plan));
  return detector;
}

bool is_detector(const fs::path& path, const std::string& architecture) {
  if (is_named_detector(architecture)) return true;
  try {
    const fs::path named = model_path(path);
    if (is_igq_file(named)) return is_detector_file(named);
    const fs::path file = config_of(named);
    if (!is_file(file)) return false;
    return is_detector_config(parse_json(read_file(file, kMaxConfig)));
  } catch (const Error&) {
    return false;
  }
}

LoadedDetector load_detector(const fs::path& named, const std::string& architecture) {
  const auto [path, name] = locate_model(named);
  LoadedDetector loaded;
  loaded.name = name;
  if (is_igq_file(path)) {
    if (!architecture.empty()) fail("{} says what it is; --arch {} cannot replace it", path.string(), architecture);
    QuantizedDetector file = load_detector_file(path);
    loaded.description = std::move(file.description);
    loaded.tensors = file.tensors;
    loaded.quantized = true;
    loaded.provenance = std::move(file.provenance);
    loaded.report = std::move(file.report);
    loaded.detector = std::move(file.detector);
    return loaded;
  }
  const auto stored = open_weights(path);
  const fs::path file = config_of(path);
  const auto build = [&] {
    loaded.tensors = detector_tensors(loaded.description, stored);
    loaded.detector = build_detector(loaded.description, loaded.tensors);
  };
  if (!is_file(file)) {
    if (architecture.empty()) fail("{} has no config.json beside it: name the network with --arch", path.string());
    loaded.description.architecture = architecture;
    build();
    return loaded;
  }
  std::string fault;
  try {
    loaded.description.config = parse_json(read_file(file, kMaxConfig));
    if (!architecture.empty()) fail("it says what the model is; --arch {} cannot replace it", architecture);
    const fs::path processor = file.parent_path() / "preprocessor_config.json";
    if (is_file(processor)) loaded.description.preprocessor = parse_json(read_file(processor, kMaxConfig));
    build();
    return loaded;
  } catch (const Error& e) {
    fault = e.what();
  }
  if (fault.starts_with(path.string())) fail("{}", fault);
  fail("{} cannot be used: {}", file.string(), fault);
}

std::unique_ptr<Detector> open_detector(const fs::path& path, const std::string& architecture) {
  return load_detector(path, architecture).detector;
}

}  // namespace igq
