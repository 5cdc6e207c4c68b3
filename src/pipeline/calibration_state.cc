#include "pipeline/calibration_state.h"

#include <algorithm>
#include <set>

#include "base/fail.h"
#include "base/hash.h"
#include "base/temporary_names.h"
#include "io/memory_tensors.h"

namespace igq {

namespace fs = std::filesystem;

namespace {

constexpr const char* kAlike = "alike";
constexpr std::size_t kLongestName = 255;  // of Linux' file systems, in bytes

}  // namespace

fs::path calibration_state_path(const fs::path& output) {
  const std::string name = output.filename().string(), visible = name + ".calibration";
  if (visible.size() <= kLongestName) return output.parent_path() / visible;
  return output.parent_path() / fmt::format("igq-{:016x}.calibration", hash_bytes(std::as_bytes(std::span(name))));
}

fs::path perturbation_state(const fs::path& folder) { return folder / "perturbations.jsonl"; }

bool make_state_folder(const fs::path& folder) {
  std::error_code fault;
  fs::create_directory(folder, fault);
  return fs::symlink_status(folder, fault).type() == fs::file_type::directory;
}

void remove_empty_state_folder(const fs::path& folder) noexcept {
  std::error_code fault;
  if (fs::symlink_status(folder, fault).type() == fs::file_type::directory) fs::remove(folder, fault);
}

void remove_calibration_state(const fs::path& folder, const Model& model) noexcept {
  std::error_code fault;
  if (fs::symlink_status(folder, fault).type() != fs::file_type::directory) return;
  try {
    std::set<std::string> ours{perturbation_state(folder).filename().string()};
    for (const Site& site : model.sites()) ours.insert(site.name + ".igq");
    for (const auto& entry : fs::directory_iterator(folder, fault)) {
      const std::string name = entry.path().filename().string();
      const bool left = std::any_of(ours.begin(), ours.end(),  // by a run that was killed
                                    [&](const std::string& target) { return is_temporary_of(target, name); });
      if (left || ours.contains(name)) fs::remove(entry.path(), fault);
    }
    fs::remove(folder, fault);       // does nothing unless it is empty
  } catch (const std::exception&) {  // no memory for the names: the folder stays, and is used or removed next time
  }
}

CalibrationState::CalibrationState(fs::path folder, Provenance provenance, const ModelConfig& config)
    : folder_(std::move(folder)), provenance_(std::move(provenance)), config_(config) {}

fs::path CalibrationState::file_of(const std::string& site) const { return folder_ / (site + ".igq"); }

std::optional<RefinedLayer> CalibrationState::find(const std::string& site) {
  std::error_code fault;
  const fs::path file = file_of(site);
  if (!fs::is_regular_file(fs::symlink_status(file, fault))) return {};
  try {
    QuantizedModel kept = load_igq_part(file);
    const auto linear = kept.plan.linears.find(site);
    if (!(kept.provenance == provenance_) || linear == kept.plan.linears.end()) return {};
    RefinedLayer layer;
    layer.plan = std::move(linear->second);
    if (kept.tensors->has(site + ".bias")) layer.bias = kept.tensors->read(site + ".bias");
    layer.alike = kept.report.value(kAlike, false);
    ++found_;
    return layer;
  } catch (const std::exception&) {
    return {};  // damaged: the layer is refined again
  }
}

void CalibrationState::keep(const std::string& site, const RefinedLayer& layer) {
  if (!trouble_.empty()) return;
  if (!make_state_folder(folder_)) {
    trouble_ = fmt::format("{} cannot be made", folder_.string());
    return;
  }
  try {
    QuantizedModel model;
    model.config = config_;
    model.plan.linears[site] = layer.plan;
    const auto tensors = std::make_shared<MemoryTensors>(site);
    if (!layer.bias.empty())
      tensors->add(site + ".bias", {static_cast<std::int64_t>(layer.bias.size())}, AlignedBuffer<float>(layer.bias));
    model.tensors = tensors;
    model.provenance = provenance_;
    model.report[kAlike] = layer.alike;
    // A damaged file is no .igq file any more, which OutputFile would not replace.
    const fs::path file = file_of(site);
    std::error_code fault;
    if (fs::is_regular_file(fs::symlink_status(file, fault)) && !is_igq_file(file)) fs::remove(file, fault);
    save_igq_part(file, model);
  } catch (const Error& e) {
    trouble_ = e.what();
  }
}

}  // namespace igq
