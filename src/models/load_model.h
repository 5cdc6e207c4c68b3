// From the MODEL argument of the command line to a model that runs, whatever it names.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "models/checkpoint.h"
#include "models/igq_file.h"
#include "models/model.h"

namespace igq {

struct LoadedModel {
  std::unique_ptr<Model> model;
  /// The model's plan if it came from an .igq file.
  std::shared_ptr<QuantizationPlan> stored_plan;
  /// The float weights by timm's names; of an .igq file only what stays float.
  std::shared_ptr<const TensorSource> tensors;
  bool quantized = false;  ///< came from an .igq file
  std::string name;        ///< file or folder name without its path, or "hf:org/name@COMMIT"
  Provenance provenance;   ///< of an .igq file
  nlohmann::json report = nlohmann::json::object();

  /// For those who will run nothing but `execution` on these kernels: prepares it and frees the weight codes of an .igq
  /// file that have been packed for it, layer by layer, so that memory never holds all of them twice.
  void prepare_only(Execution execution, const kernels::Kernels& kernels);
};

/// A folder, a .safetensors file, an .igq file or a model of the hub (hub_cache.h). Error as open_checkpoint and
/// load_igq; options on an .igq file are an Error.
LoadedModel load_model(const std::filesystem::path& path, const CheckpointOptions& options = {});

/// A model of `config` with random weights scaled so that activations keep a realistic spread (normal weights of
/// variance 1 / in, norms near 1, small biases): for benchmarks and tests without a checkpoint. The same seed gives the
/// same model.
LoadedModel random_model(const ModelConfig& config, std::uint64_t seed);

}  // namespace igq
