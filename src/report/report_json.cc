// The collected data as one JSON document, for `igq report --json`.
#include "base/fail.h"
#include "report/report_data.h"

namespace igq::report {
namespace {

using nlohmann::json;

json example_json(const GroupedExample& example) {
  json images = json::array();
  for (std::size_t i = 0; i < example.images.size(); ++i) {
    json lower = json::array(), upper = json::array(), groups = json::array();
    for (const Member& m : example.images[i]) {
      lower.push_back(m.range.lower);
      upper.push_back(m.range.upper);
      groups.push_back(m.group);
    }
    const GroupingGain gain = grouping_gain(example, i);
    json image = {{"image", example.image_names.at(i)},
                  {"max", std::move(upper)},
                  {"group", std::move(groups)},
                  {"median_steps_one_quantizer", gain.steps_single},
                  {"median_steps_grouped", gain.steps_grouped},
                  {"clipped_percent", gain.clipped}};
    if (example.head < 0) image["min"] = std::move(lower);
    images.push_back(std::move(image));
  }
  json result = {{"site", example.site},
                 {"members", example.members},
                 {"stride", example.stride},
                 {"bits", example.bits},
                 {"grouping", grouping_name(example.grouping)},
                 {"groups", example.groups},
                 {"images", std::move(images)}};
  if (example.head >= 0) result["head"] = example.head;
  if (example.images.size() > 1) result["moved_percent"] = moved_percent(example, 0, 1);
  return result;
}

json optional_number(const std::optional<double>& value) { return value ? json(*value) : json(); }

}  // namespace

json report_to_json(const ReportData& data) {
  json sites = json::array(), predictions = json::array();
  for (const SiteRow& s : data.sites)
    sites.push_back({{"site", s.name},
                     {"block", s.block},
                     {"kind", s.kind},
                     {"weight_bits", s.weight_bits},
                     {"activation_bits", s.activation_bits},
                     {"grouping", grouping_name(s.grouping)},
                     {"groups", s.groups},
                     {"gbops", s.gbops},
                     {"snr_alone_db", optional_number(s.alone)},
                     {"snr_accumulated_db", optional_number(s.accumulated)}});
  for (const PredictionExample& p : data.predictions) {
    json entry = {{"file", p.file}, {"quantized", p.quantized_class}, {"score", p.score}};
    if (p.label >= 0) entry["label"] = p.label;
    if (p.float_class >= 0) entry.update({{"float", p.float_class}, {"float_score", p.float_score}});
    predictions.push_back(std::move(entry));
  }
  const Provenance& p = data.provenance;
  json document = {{"model", data.file},
                   {"architecture", data.config.architecture},
                   {"provenance",
                    {{"source", p.source},
                     {"source_checksum", p.source_checksum},
                     {"calibration_checksum", p.calibration_checksum},
                     {"calibration_images", p.calibration_images},
                     {"seed", p.seed},
                     {"tool_version", p.tool_version},
                     {"settings", p.settings}}},
                   {"file_mb", data.file_mb},
                   {"float_mb", data.float_mb},
                   {"gbops", data.gbops},
                   {"float_gbops", data.float_gbops},
                   {"bops_overhead_percent", 100.0 * (data.gbops / data.one_group_gbops - 1.0)},
                   {"sites", std::move(sites)},
                   {"predictions", std::move(predictions)}};
  if (data.noise_images > 0)
    document["noise"] = {{"images", data.noise_images},
                         {"measured_on", data.noise_on_data ? "data-dir" : "calibration"},
                         {"logits_snr_db", data.logits_snr}};
  if (data.allocation) {
    const AllocationFacts& a = *data.allocation;
    document["allocation"] = {{"gbops", a.gbops},
                              {"budget_gbops", a.budget_gbops},
                              {"divergence", a.divergence},
                              {"uniform_divergence", optional_number(a.uniform_divergence)}};
  }
  if (data.speed)
    document["speed"] = {{"float_ms", data.speed->float_ms},
                         {"integer_ms", data.speed->integer_ms},
                         {"speedup", data.speed->float_ms / data.speed->integer_ms},
                         {"threads", data.speed->threads},
                         {"rounds", data.speed->rounds},
                         {"cpu", data.speed->cpu},
                         {"isa", data.speed->isa}};
  if (data.accuracy) {
    const Accuracy& a = *data.accuracy;
    json accuracy = {{"images", a.images}, {"bad_images", a.bad_images}, {"changed", a.changed}};
    if (a.labelled) accuracy.update({{"top1", a.top1}, {"top1_interval_95", a.interval}});
    if (a.float_top1) accuracy["float_top1"] = *a.float_top1;
    if (a.agreement) accuracy["agreement"] = *a.agreement;
    document["accuracy"] = std::move(accuracy);
  }
  if (data.vectors) document["vectors"] = vectors_to_json(*data.vectors);
  if (data.channels) document["channels"] = example_json(*data.channels);
  if (data.rows) document["softmax"] = example_json(*data.rows);
  return document;
}

}  // namespace igq::report
