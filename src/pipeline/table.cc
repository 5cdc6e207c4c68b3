#include "pipeline/table.h"

#include <chrono>
#include <map>

#include "base/fail.h"
#include "base/file.h"
#include "base/output_file.h"
#include "base/hash.h"
#include "io/json_fields.h"
#include "pipeline/groups_in_use.h"
#include "pipeline/table_state.h"

namespace igq {
namespace {

using nlohmann::json;

std::vector<int> first_classes(const EvalResult& result) {
  std::vector<int> classes;
  for (const ImageResult& r : result.results) classes.push_back(r.classes.empty() ? -1 : r.classes.front());
  return classes;
}

void fill_accuracy(TableRow& row, const EvalResult& result, const std::vector<int>& reference) {
  row.images = result.images;
  row.top1 = result.top1;
  row.top5 = result.top5;
  row.interval = confidence_95(result.top1, result.images);
  std::int64_t same = 0;
  const std::vector<int> classes = first_classes(result);
  for (std::size_t i = 0; i < classes.size(); ++i) same += classes[i] >= 0 && classes[i] == reference[i];
  row.agreement = result.images > 0 ? 100.0 * static_cast<double>(same) / static_cast<double>(result.images) : 0.0;
}

}  // namespace

TableRow row_from_json(const json& j) {
  constexpr double kPercent = 100.0;
  TableRow row;
  row.name = json_string(json_at(j, "setting"), "setting");
  row.bits = json_string(json_at(j, "bits"), "bits");
  row.groups = json_string(json_at(j, "groups"), "groups");
  row.images = json_int(json_at(j, "images"), "images", 0, INT64_MAX);
  row.top1 = table_number(j, "top1", 0.0, kPercent);
  row.top5 = table_number(j, "top5", 0.0, kPercent);
  row.interval = table_number(j, "top1_interval_95", 0.0, kPercent);
  row.agreement = table_number(j, "agreement", 0.0, kPercent);
  row.gbops = table_number(j, "gbops", 0.0, kMostOfTable);
  row.file_mb = table_number(j, "file_mb", 0.0, kMostOfTable);
  row.quantize_seconds = table_number(j, "quantize_seconds", 0.0, kMostOfTable);
  return row;
}

json row_to_json(const TableRow& row) {
  return {{"setting", row.name},
          {"bits", row.bits},
          {"groups", row.groups},
          {"images", row.images},
          {"top1", row.top1},
          {"top5", row.top5},
          {"top1_interval_95", row.interval},
          {"agreement", row.agreement},
          {"agreement_interval_95", confidence_95(row.agreement, row.images)},
          {"gbops", row.gbops},
          {"file_mb", row.file_mb},
          {"quantize_seconds", row.quantize_seconds}};
}

TableKind table_kind() {
  return {kTableFormat, [](const json& row) { row_from_json(row); }};
}

std::vector<TableRow> make_table(LoadedModel& model, const CalibrationSet& images, const std::vector<Sample>& samples,
                                 const std::vector<TableSetting>& settings, const TableOptions& options,
                                 const StageProgress& progress, const std::function<void(const TableRow&)>& row_done) {
  TableState state(options.state, table_kind());
  Hasher hasher;
  for (const Sample& s : samples) {
    const std::string line = fmt::format("{} {}\n", s.relative, s.label);
    hasher.update(std::as_bytes(std::span(line)));
  }
  const std::string context = fmt::format("{} {} {} {}", checkpoint_checksum(*model.tensors), images.checksum,
                                          hash_text(hasher.digest()), execution_name(options.execution));
  auto run = [&](Model& m, Execution execution, const std::string& what) {
    Runner runner(m, execution, options.isa, options.threads);
    const auto tick = progress ? progress("evaluating " + what, static_cast<std::int64_t>(samples.size()))
                               : std::function<void(std::int64_t)>{};
    return evaluate(runner, samples, options.eval, tick);
  };

  // Agreement needs the float model's prediction for every image, so they are kept with its row.
  const std::string float_key = context + " float";
  std::vector<int> reference;
  TableRow float_row;
  if (const json* known = state.find(float_key)) {
    float_row = row_from_json(*known);
    for (const json& c : json_array(json_at(*known, "classes"), "classes", samples.size()))
      reference.push_back(static_cast<int>(json_int(c, "classes", -1, INT32_MAX)));
    if (reference.size() != samples.size())
      fail("{}: the float row is damaged; remove the file", options.state.string());
  } else {
    restore_float(model);
    const EvalResult result = run(*model.model, Execution::kFloat, "float");
    reference = first_classes(result);
    float_row.name = "float";
    float_row.bits = float_row.groups = "-";
    fill_accuracy(float_row, result, reference);
    float_row.file_mb = float_bytes(expected_tensors(model.model->config())) / 1e6;
    float_row.gbops = model_gbops(site_shapes(model.model->config()), nullptr);
    json kept = row_to_json(float_row);
    kept["classes"] = reference;
    state.keep(float_key, kept);
  }

  std::vector<TableRow> rows;
  for (const TableSetting& setting : settings) {
    TableRow row;
    if (setting.name == "float") {
      row = float_row;
    } else {
      const std::string key = fmt::format("{} {} {}", context, setting.name, job_text(setting.job));
      if (const json* known = state.find(key)) {
        row = row_from_json(*known);
      } else {
        const auto start = std::chrono::steady_clock::now();
        QuantizeReport report = quantize_model(model, images, setting.job, options.isa, options.threads, 0, progress);
        row.quantize_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        // Gone as soon as it is loaded: the long part, the evaluation, leaves nothing behind when it is killed.
        LoadedModel saved = [&] {
          const TemporaryFile file("igq-table-", ".igq");
          save_igq(file.path(), report.model, true);
          row.file_mb = static_cast<double>(std::filesystem::file_size(file.path())) / 1e6;
          return load_model(file.path());
        }();
        saved.model->set_preprocess(model.model->config().preprocess);
        row.gbops = model_gbops(site_shapes(saved.model->config()), saved.model->plan());
        fill_accuracy(
            row,
            run(*saved.model, options.execution, fmt::format("{} {} {}", setting.bits, setting.name, setting.groups)),
            reference);
        row.name = setting.name;
        row.bits = setting.bits;
        row.groups = groups_text(setting.groups, groups_in_use(*saved.model->plan()));
        state.keep(key, row_to_json(row));
      }
    }
    if (row_done) row_done(row);
    rows.push_back(row);
  }
  restore_float(model);
  return rows;
}

}  // namespace igq
