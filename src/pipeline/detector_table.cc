#include "pipeline/detector_table.h"

#include <chrono>

#include "allocation/network_perturbation.h"
#include "base/hash.h"
#include "base/output_file.h"
#include "coco/resampled_ap.h"
#include "io/json_fields.h"
#include "pipeline/groups_in_use.h"
#include "pipeline/table_state.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr int kResamples = 200;

DetectorTableRow detector_row_from_json(const json& j) {
  constexpr double kPercent = 100.0;
  DetectorTableRow row;
  row.name = json_string(json_at(j, "setting"), "setting");
  row.bits = json_string(json_at(j, "bits"), "bits");
  row.groups = json_string(json_at(j, "groups"), "groups");
  row.images = json_int(json_at(j, "images"), "images", 0, INT64_MAX);
  row.box_ap = table_number(j, "box_ap", -1.0, kPercent);
  row.box_interval = table_number(j, "box_ap_interval_95", 0.0, kPercent);
  row.mask_ap = table_number(j, "mask_ap", -1.0, kPercent);
  row.mask_interval = table_number(j, "mask_ap_interval_95", 0.0, kPercent);
  row.gbops = table_number(j, "gbops", 0.0, kMostOfTable);
  row.file_mb = table_number(j, "file_mb", 0.0, kMostOfTable);
  row.quantize_seconds = table_number(j, "quantize_seconds", 0.0, kMostOfTable);
  return row;
}

void score(DetectorTableRow& row, DetectorRunner& runner, const coco::Dataset& dataset, const DatasetRun& run,
           const std::function<void(std::int64_t)>& tick) {
  FoundObjects found = detect_dataset(runner, dataset, run, tick);
  row.images = static_cast<std::int64_t>(dataset.images.size() - found.bad_images.size());
  const auto measure = [&](coco::IouType type, double& ap, double& interval) {
    const double value = coco::evaluate(dataset, found.list, type).stats[0];
    ap = value < 0.0 ? -1.0 : 100.0 * value;
    interval = 100.0 * coco::ResampledAp(dataset, found.list, type).interval_95(kResamples, 0);
  };
  measure(coco::IouType::kBox, row.box_ap, row.box_interval);
  if (!runner.detector().has_masks()) return;
  take_mask_areas(dataset, found.list);
  measure(coco::IouType::kMask, row.mask_ap, row.mask_interval);
}

std::string checksum_of(const coco::Dataset& dataset) {
  Hasher hasher;
  const auto update = [&](const std::string& line) { hasher.update(std::as_bytes(std::span(line))); };
  for (const coco::ImageInfo& image : dataset.images) update(fmt::format("{} {}\n", image.id, image.file_name));
  for (const coco::Annotation& a : dataset.annotations)
    update(fmt::format("{} {} {} {} {}\n", a.id, a.image, a.category, a.box[0], a.box[1]));
  return hash_text(hasher.digest());
}

/// Quantizes the detector of `loaded`, runs what was written to a file, and takes the file's size.
DetectorTableRow measure_setting(LoadedDetector loaded, const DetectorPictures& pictures, const coco::Dataset& dataset,
                                 const TableSetting& setting, const DetectorTableOptions& options,
                                 const StageProgress& progress) {
  DetectorTableRow row;
  const auto start = std::chrono::steady_clock::now();
  const DetectorReport report =
      quantize_detector(loaded, pictures, setting.job, options.scope, options.isa, options.threads, 0, progress);
  row.quantize_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  row.gbops = model_gbops(report.shapes, report.detector.plan.get());
  row.name = setting.name;
  row.bits = setting.bits;
  row.groups = groups_text(setting.groups, groups_in_use(*report.detector.plan));
  // Gone as soon as it is loaded: the long part, the pictures, leaves nothing behind when it is killed.
  LoadedDetector saved = [&] {
    const TemporaryFile file("igq-table-", ".igq");
    save_detector(file.path(), report.detector, true);
    row.file_mb = static_cast<double>(std::filesystem::file_size(file.path())) / 1e6;
    return load_detector(file.path());
  }();
  DetectorRunner runner(*saved.detector, options.execution, options.isa, options.threads);
  score(row, runner, dataset, options.run,
        begin_stage(progress, fmt::format("evaluating {} {} {}", setting.bits, setting.name, setting.groups),
                    static_cast<std::int64_t>(dataset.images.size())));
  return row;
}

DetectorTableRow measure_float(LoadedDetector loaded, const DetectorPictures& pictures, const coco::Dataset& dataset,
                               const DetectorTableOptions& options, const StageProgress& progress) {
  DetectorTableRow row;
  row.name = "float";
  row.bits = row.groups = "-";
  row.file_mb = float_bytes(loaded.tensors->shapes()) / 1e6;
  DetectorRunner runner(*loaded.detector, Execution::kFloat, options.isa, options.threads);
  row.gbops = model_gbops(observed_shapes(detector_passes(runner, pictures)), nullptr);
  score(row, runner, dataset, options.run,
        begin_stage(progress, "evaluating float", static_cast<std::int64_t>(dataset.images.size())));
  return row;
}

}  // namespace

json row_to_json(const DetectorTableRow& row) {
  return {{"setting", row.name},
          {"bits", row.bits},
          {"groups", row.groups},
          {"images", row.images},
          {"box_ap", row.box_ap},
          {"box_ap_interval_95", row.box_interval},
          {"mask_ap", row.mask_ap},
          {"mask_ap_interval_95", row.mask_interval},
          {"gbops", row.gbops},
          {"file_mb", row.file_mb},
          {"quantize_seconds", row.quantize_seconds}};
}

std::vector<DetectorTableRow> make_detector_table(const std::function<LoadedDetector()>& load,
                                                  const DetectorPictures& pictures, const coco::Dataset& dataset,
                                                  const std::vector<TableSetting>& settings,
                                                  const DetectorTableOptions& options, const StageProgress& progress,
                                                  const std::function<void(const DetectorTableRow&)>& row_done) {
  for (const TableSetting& setting : settings) check_detector_job(setting.job);
  TableState state(options.state, {kDetectorTableFormat, [](const json& row) { detector_row_from_json(row); }});
  const std::string context =
      fmt::format("{} {} {} {} {}", checkpoint_checksum(*load().tensors), pictures.checksum, checksum_of(dataset),
                  execution_name(options.execution), scope_name(options.scope));
  std::vector<DetectorTableRow> rows;
  for (const TableSetting& setting : settings) {
    const bool exact = setting.name == "float";
    const std::string key =
        exact ? context + " float" : fmt::format("{} {} {}", context, setting.name, job_text(setting.job));
    DetectorTableRow row;
    if (const json* known = state.find(key)) {
      row = detector_row_from_json(*known);
    } else {
      row = exact ? measure_float(load(), pictures, dataset, options, progress)
                  : measure_setting(load(), pictures, dataset, setting, options, progress);
      state.keep(key, row_to_json(row));
    }
    if (row_done) row_done(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace igq
