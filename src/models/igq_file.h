// The .igq file: a quantized model with everything needed to run it and to say where it came from (docs/format.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/json.h"
#include "io/tensor_source.h"
#include "models/config.h"
#include "models/plan_json.h"
#include "quant/plan.h"

namespace igq {

/// Where a quantized model came from. No time and no path: the same run gives the same bytes.
struct Provenance {
  std::string source;                ///< file or folder name of the float model, without its path
  std::string source_checksum;       ///< "xxh3:..." of its weights
  std::string calibration_checksum;  ///< "xxh3:..." over the calibration images in their order
  std::int64_t calibration_images = 0;
  std::uint64_t seed = 0;
  std::string tool_version;
  std::string settings;  ///< the options that decided the result, as given on the command line
  bool operator==(const Provenance&) const = default;
};

/// The header's entry, field by field under its own name.
nlohmann::json provenance_to_json(const Provenance& provenance);
/// The inverse. Error (without a path) names the field.
Provenance provenance_from_json(const nlohmann::json& json);

struct QuantizedModel {
  ModelConfig config;
  QuantizationPlan plan;
  /// What stays float: norms, biases, embeddings, weights that the plan keeps in float.
  std::shared_ptr<const TensorSource> tensors;
  Provenance provenance;
  /// Free-form extra data: allocation table, signal-to-noise per site.
  nlohmann::json report = nlohmann::json::object();
};

/// `tensors` may still hold "<linear>.weight" of linears whose weight has codes; those are left out of the file.
/// Error when the plan contradicts itself (check_plan), when the file exists and not `overwrite`, when the disk is
/// full ...; nothing is left under `path` then, an older file stays as it was.
void save_igq(const std::filesystem::path& path, const QuantizedModel& model, bool overwrite);

/// Reads, checks and unpacks everything; the file is not needed afterwards. Error (path, what, how to mend it) for
/// everything a damaged file can say: plan, configuration and tensors that contradict each other, numbers that are not
/// finite.
QuantizedModel load_igq(const std::filesystem::path& path);

/// The same of some of a model's layers, replacing an older file: tensors may be missing. load_igq() refuses such a
/// file, load_igq_part() reads both.
void save_igq_part(const std::filesystem::path& path, const QuantizedModel& model);
QuantizedModel load_igq_part(const std::filesystem::path& path);

/// Only where it came from; tensors are not read.
Provenance read_provenance(const std::filesystem::path& path);

/// Whether the file starts with the magic of .igq files; never throws.
bool is_igq_file(const std::filesystem::path& path);

}  // namespace igq
