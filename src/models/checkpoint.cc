// From a path to a configuration and named tensors: which files a folder holds, whose config.json it is, what the
// command line overrides.
#include "models/checkpoint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/directory.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/hash.h"
#include "io/json_fields.h"
#include "io/safetensors.h"
#include "models/check_tensors.h"
#include "models/config_json.h"
#include "models/foreign_weights.h"
#include "models/registry.h"
#include "models/timm_config.h"
#include "models/transformers_config.h"
#include "models/weight_names.h"

namespace igq {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfig = std::uint64_t{64} << 20;
constexpr const char* kConfig = "config.json";
constexpr const char* kPreprocessor = "preprocessor_config.json";
constexpr const char* kProcessor = "processor_config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// The weights of a folder.
fs::path find_weights(const fs::path& folder) {
  for (const char* name : {kWeights, kIndex}) {
    if (is_file(folder / name)) return folder / name;
  }
  refuse_foreign_folder(folder);
  fail("{} holds no model: a model folder has {} and {}", folder.string(), kConfig, kWeights);
}

std::shared_ptr<const TensorSource> open_stored(const fs::path& path) {
  refuse_foreign(path);
  if (path.extension() == ".json") return open_sharded_safetensors(path);
  return open_safetensors(path);
}

/// The file of weights that `path` is or holds.
fs::path weights_of(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    fail("{} does not exist: give a model folder, a .safetensors file or an .igq file", path.string());
  }
  if (fs::is_directory(path, ignored)) {
    const fs::path found = find_weights(path);
    refuse_foreign(found);
    return found;
  }
  refuse_foreign(path);
  if (path.extension() != ".safetensors" && path.filename() != kIndex) {
    fail("{} is no model that igq reads: give a model folder, a .safetensors file or an .igq file", path.string());
  }
  return path;
}

/// Reads a JSON file and hands it on; faults in it name the path.
template <typename Body>
auto with_json(const fs::path& path, Body&& body) {
  refuse_lfs_pointer(path);
  const std::string text = read_file(path, kMaxConfig);
  std::string fault;
  try {
    return body(parse_json(text));
  } catch (const Error& e) {
    fault = e.what();
  }
  fail("{} cannot be used: {}", path.string(), fault);
}

/// As AutoImageProcessor looks for it: nested in processor_config.json, else a file of its own. Without either it
/// refuses too, since nothing says how the model wants its images.
json read_preprocessor(const fs::path& folder) {
  const auto whole = [](json value) { return value; };
  if (is_file(folder / kProcessor)) {
    const json processor = with_json(folder / kProcessor, whole);
    if (const json* nested = processor.is_object() ? json_find(processor, "image_processor") : nullptr) return *nested;
  }
  if (is_file(folder / kPreprocessor)) return with_json(folder / kPreprocessor, whole);
  fail(
      "no {} beside it, so nothing says how the images are resized and normalized (transformers refuses that too): "
      "copy the "
      "file from the model that this one was fine-tuned from",
      kPreprocessor);
}

ModelConfig read_config(const fs::path& path, const CheckpointOptions& options) {
  const std::string& architecture = options.architecture;
  return with_json(path, [&](const json& config) {
    if (is_timm_config(config)) {
      ModelConfig timm = timm_config(config, architecture);
      if (is_timm_wrapper(config)) apply_pipeline(config, timm);
      return timm;
    }
    if (is_transformers_config(config)) {
      if (!architecture.empty()) {
        fail("it is of transformers and says what the model is; --arch {} cannot replace it", architecture);
      }
      check_transformers_class(config);  // what igq does not run at all, before what its folder lacks
      return transformers_config(config, read_preprocessor(path.parent_path()), options.image_height != 0);
    }
    fail(
        "it is neither timm's (no 'architecture') nor of transformers (no 'architectures'): igq reads image "
        "classifiers "
        "of the two; detectors run with igq predict and igq eval");
  });
}

/// --img-size. A resize that transformers' processor does before its crop keeps its ratio to the crop.
void override_size(const CheckpointOptions& options, ModelConfig& config) {
  const int height = options.image_height, width = options.image_width;
  if (height == 0 && width == 0) return;
  constexpr int kMax = 1 << 16;
  if (height < 1 || width < 1 || height > kMax || width > kMax) fail("--img-size {}x{} makes no sense", height, width);
  const auto scale = [](int& value, int to, int from) {
    if (value > 0) value = std::max(1, static_cast<int>(std::lround(static_cast<double>(value) * to / from)));
  };
  PreprocessConfig& p = config.preprocess;
  scale(p.resize_height, height, config.image_height);
  scale(p.resize_width, width, config.image_width);
  // The short side must cover the crop along both axes.
  scale(p.resize_short, std::max(height, width), std::max(config.image_height, config.image_width));
  config.image_height = height;
  config.image_width = width;
}

const char* head_name(const ModelConfig& config) {
  return config.family == Family::kSwin ? "head.fc.weight" : "head.weight";
}

/// Without a config.json the number of classes is that of the stored head.
void take_classes(const TensorSource& tensors, ModelConfig& config) {
  const auto head = tensors.shapes().find(head_name(config));
  if (head == tensors.shapes().end() || head->second.size() != 2) return;
  const std::int64_t classes = head->second[0];
  if (classes < 1 || classes > (1 << 20) || classes == config.num_classes) return;
  config.num_classes = static_cast<int>(classes);
  if (classes == 1) config.scores = Scores::kSigmoid;
  config.labels.clear();
}

/// The width of CLIP's projection is that of its matrix; towers are stored with and without it.
void take_projection(const TensorSource& tensors, ModelConfig& config) {
  const auto found = tensors.shapes().find("projection.weight");
  if (found == tensors.shapes().end() || found->second.size() != 2 || config.family != Family::kVit) return;
  if (found->second[0] < 1 || found->second[0] > (1 << 20)) return;  // check_tensors() says so
  config.vit.projection = static_cast<int>(found->second[0]);
}

/// Weights without a head are an encoder, whatever classes their configuration names.
void drop_head(ModelConfig& config) {
  config.notes.clear();  // on names of classes
  if (!config.labels.empty())
    config.notes.push_back(fmt::format(
        "the configuration names {} classes, but the weights have no head ('{}', transformers: 'classifier.weight'): "
        "the model gives embeddings",
        config.num_classes, head_name(config)));
  config.num_classes = 0;
  config.labels.clear();
  config.scores = Scores::kSoftmax;
  config.vit.concat_pool = false;  // DINOv2's classifier reads the patches too, its embedding is the class token
}

}  // namespace

std::shared_ptr<const TensorSource> open_weights(const fs::path& path) { return open_stored(weights_of(path)); }

Checkpoint open_checkpoint(const fs::path& path, const CheckpointOptions& options) {
  const fs::path weights = weights_of(path);
  const fs::path config_path = weights.parent_path() / kConfig;
  const bool configured = is_file(config_path);
  if (!configured && options.architecture.empty()) {
    fail("{} has no {} beside it: name the architecture with --arch (igq inspect --list prints the names)",
         weights.string(), kConfig);
  }
  Checkpoint checkpoint;
  ModelConfig& config = checkpoint.config;
  config = configured ? read_config(config_path, options) : architecture_config(options.architecture);
  override_size(options, config);
  try {
    config_from_json(config_to_json(config));  // ranges and what must divide what
  } catch (const Error& e) {
    fail("{}: {}", configured ? config_path.string() : weights.string(), e.what());
  }
  auto tensors = rename_tensors(open_stored(weights), config);
  take_projection(*tensors, config);
  if (!configured) take_classes(*tensors, config);
  if (config.num_classes > 0 && !tensors->shapes().contains(head_name(config))) drop_head(config);
  check_tensors(*tensors, config);
  checkpoint.tensors = std::move(tensors);
  return checkpoint;
}

std::string checkpoint_checksum(const TensorSource& tensors) {
  static_assert(std::endian::native == std::endian::little, "the checksum is over little-endian values");
  Hasher hasher;
  for (const auto& [name, shape] : tensors.shapes()) {
    const std::uint64_t rank = shape.size();
    hasher.update(std::as_bytes(std::span(name.c_str(), name.size() + 1)));
    hasher.update(std::as_bytes(std::span(&rank, 1)));
    hasher.update(std::as_bytes(std::span(shape)));
    const AlignedBuffer<float> values = tensors.read(name);
    hasher.update(std::as_bytes(std::span(values.data(), values.size())));
  }
  return hash_text(hasher.digest());
}

}  // namespace igq
