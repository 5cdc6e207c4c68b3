#include "report/report_data.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/fail.h"
#include "eval/benchmark.h"
#include "io/json_fields.h"
#include "models/registry.h"
#include "report/thumbnail.h"

namespace igq::report {
namespace {

using nlohmann::json;

constexpr std::size_t kPredictions = 12, kChangedPredictions = 8;
constexpr std::int64_t kExampleImages = 2;

/// "layers.1.blocks.0.attn.qkv" -> block "layers.1.blocks.0.", kind "attn.qkv"; block empty outside of blocks.
std::pair<std::string, std::string> split_name(const std::string& name) {
  const std::size_t at = name.find("blocks.");
  const std::size_t dot = at == std::string::npos ? at : name.find('.', at + 7);
  if (dot == std::string::npos) return {"", name};
  return {name.substr(0, dot + 1), name.substr(dot + 1)};
}

std::vector<SiteRow> site_rows(const ModelConfig& config, const QuantizationPlan* plan) {
  std::vector<SiteRow> rows;
  std::map<std::string, int> blocks;
  for (const SiteShape& shape : site_shapes(config)) {
    const SiteSetting setting = planned_setting(shape, plan);
    SiteRow row;
    row.name = shape.name;
    auto [block, kind] = split_name(shape.name);
    if (!block.empty()) row.block = blocks.emplace(block, static_cast<int>(blocks.size())).first->second;
    row.kind = std::move(kind);
    row.attention = shape.attention;
    row.weight_bits = setting.weight_bits;
    row.activation_bits = setting.activation_bits;
    row.grouping = setting.grouping;
    row.groups = setting.grouping == Grouping::kFloat ? 0 : setting.groups;
    row.gbops = static_cast<double>(site_bops(shape, setting).total()) / 1e9;
    rows.push_back(std::move(row));
  }
  return rows;
}

double one_group_gbops(const ModelConfig& config, const QuantizationPlan* plan) {
  double total = 0.0;
  for (const SiteShape& shape : site_shapes(config)) {
    SiteSetting setting = planned_setting(shape, plan);
    setting.groups = 1;
    total += static_cast<double>(site_bops(shape, setting).total()) / 1e9;
  }
  return total;
}

/// Fills the errors that quantize_model left in the file.
void read_stored_noise(const json& report, ReportData& data) {
  const json* noise = json_find(report, "noise");
  if (noise == nullptr) return;
  data.noise_images = json_int(json_at(*noise, "images"), "images", 1, INT64_MAX);
  data.logits_snr = static_cast<double>(json_float(json_at(*noise, "logits_snr_db"), "logits_snr_db"));
  for (const json& entry : json_array(json_at(*noise, "sites"), "sites", data.sites.size())) {
    const std::string& name = json_string(json_at(entry, "site"), "site");
    const auto row =
        std::find_if(data.sites.begin(), data.sites.end(), [&](const SiteRow& r) { return r.name == name; });
    if (row == data.sites.end()) fail("the stored errors name a site '{}' that the model does not have", name);
    row->accumulated = static_cast<double>(json_float(json_at(entry, "snr_accumulated_db"), "snr_accumulated_db"));
    if (const json* alone = json_find(entry, "snr_alone_db"))
      row->alone = static_cast<double>(json_float(*alone, "snr_alone_db"));
  }
}

std::optional<StoredVerdict> stored_verdict(const json& report) {
  const json* verdict = json_find(report, "verdict");
  if (verdict == nullptr) return {};
  const auto value = [&](const char* key) { return static_cast<double>(json_float(json_at(*verdict, key), key)); };
  StoredVerdict v;
  v.images = json_int(json_at(*verdict, "images"), "images", 0, INT64_MAX);
  if (v.images == 0) return {};
  v.held_back = json_bool(json_at(*verdict, "held_back"), "held_back");
  v.snr = value("logits_snr_db");
  if (json_find(*verdict, "agreement") != nullptr) {
    v.agreement = value("agreement");
    v.agreement_interval = value("agreement_interval_95");
  }
  if (json_find(*verdict, "cosine_mean") != nullptr) {
    v.cosine_mean = value("cosine_mean");
    v.cosine_percentile1 = value("cosine_percentile_1");
  }
  return v;
}

std::optional<AllocationFacts> stored_allocation(const json& report) {
  const json* allocation = json_find(report, "allocation");
  if (allocation == nullptr) return {};
  const auto value = [&](const char* key) { return static_cast<double>(json_float(json_at(*allocation, key), key)); };
  AllocationFacts facts{value("bops") / 1e9, value("budget") / 1e9, value("divergence"), {}};
  if (json_find(*allocation, "uniform_divergence") != nullptr) facts.uniform_divergence = value("uniform_divergence");
  return facts;
}

/// Changed predictions first (those that became wrong before the others), without a float model wrong ones first; then
/// others.
std::vector<std::size_t> choose_predictions(const std::vector<PredictionExample>& all) {
  const auto interest = [](const PredictionExample& p) {
    const bool wrong = p.label >= 0 && p.quantized_class != p.label;
    if (p.float_class < 0) return wrong ? 1 : 0;
    return p.changed() ? (wrong && p.float_class == p.label ? 3 : 2) : 0;
  };
  std::vector<std::size_t> order(all.size()), chosen;
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return interest(all[a]) > interest(all[b]); });
  std::size_t interesting = 0;
  for (const std::size_t i : order) {
    if (chosen.size() == kPredictions) break;
    if (interest(all[i]) > 0 && ++interesting > kChangedPredictions) continue;
    chosen.push_back(i);
  }
  return chosen;
}

/// Accuracy, agreement and example predictions. Samples that can be read are left in `readable`.
void measure_predictions(const LoadedModel& model, const LoadedModel* reference, const ReportOptions& options,
                         const StageProgress& progress, ReportData& data, std::vector<Sample>& readable) {
  std::vector<Sample> samples = options.samples;
  for (Sample& s : samples) s.label = options.labelled ? s.label : 0;  // evaluate() insists on labels
  EvalOptions eval;
  eval.skip_bad_images = options.skip_bad_images;
  const auto run = [&](Model& m, Execution execution, const char* stage) {
    Runner runner(m, execution, options.isa, options.threads);
    return evaluate(
        runner, samples, eval,
        progress ? progress(stage, static_cast<std::int64_t>(samples.size())) : std::function<void(std::int64_t)>{});
  };
  const EvalResult quantized = run(*model.model, Execution::kInteger, "predicting");
  std::optional<EvalResult> exact;
  if (reference != nullptr) exact = run(*reference->model, Execution::kFloat, "predicting in float");

  Accuracy accuracy;
  accuracy.images = quantized.images;
  accuracy.bad_images = static_cast<std::int64_t>(quantized.bad_images.size());
  accuracy.labelled = options.labelled;
  if (options.labelled) {
    accuracy.top1 = quantized.top1;
    accuracy.interval = confidence_95(quantized.top1, quantized.images);
    if (exact) accuracy.float_top1 = exact->top1;
  }
  std::vector<PredictionExample> all;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const ImageResult& result = quantized.results[i];
    if (result.classes.empty()) continue;
    PredictionExample p;
    p.file = samples[i].relative;
    p.label = options.labelled ? samples[i].label : -1;
    p.quantized_class = result.classes.front();
    p.score = result.scores.front();
    if (exact) {
      p.float_class = exact->results[i].classes.at(0);
      p.float_score = exact->results[i].scores.at(0);
    }
    accuracy.changed += p.changed();
    all.push_back(std::move(p));
    readable.push_back(options.samples[i]);
  }
  if (exact && accuracy.images > 0)
    accuracy.agreement =
        100.0 * static_cast<double>(accuracy.images - accuracy.changed) / static_cast<double>(accuracy.images);
  for (const std::size_t i : choose_predictions(all)) {
    data.predictions.push_back(std::move(all[i]));
    data.predictions.back().thumbnail = thumbnail(readable[i], data.config);
  }
  data.accuracy = accuracy;
}

/// `hybrid`: with_float_weights of the two models.
void measure_noise(const LoadedModel& model, const LoadedModel& reference, Model& hybrid, const ReportOptions& options,
                   const std::vector<Sample>& samples, const StageProgress& progress, ThreadPool& pool,
                   ReportData& data) {
  CompareOptions compare;
  compare.test = Execution::kSimulate;
  compare.alone_images = options.noise_images;
  compare.leave_out_qkv = is_balanced(model);
  const std::int64_t count = std::min<std::int64_t>(options.noise_images, static_cast<std::int64_t>(samples.size()));
  if (count < 1) return;
  const auto tick = progress ? progress("measuring errors", count) : std::function<void(std::int64_t)>{};
  const Comparison noise = compare_models(*reference.model, hybrid, compare, options.isa, pool, count,
                                          load_samples(data.config, samples), tick);
  data.noise_images = noise.images;
  data.noise_on_data = true;
  data.logits_snr = noise.logits_snr;
  for (SiteRow& row : data.sites) {
    const auto measured =
        std::find_if(noise.sites.begin(), noise.sites.end(), [&](const SiteNoise& n) { return n.site == row.name; });
    row.alone = measured == noise.sites.end() ? std::nullopt : measured->alone;
    row.accumulated = measured == noise.sites.end() ? std::nullopt : std::optional(measured->accumulated);
  }
  data.qkv_left_out = compare.leave_out_qkv;
}

Speed measure_speed(const LoadedModel& model, const ReportOptions& options) {
  // Short rounds in turn, so that what else the machine does at a time meets both.
  BenchmarkOptions benchmark;
  benchmark.min_seconds = 0.2;
  benchmark.warmup = 1;
  benchmark.min_passes = 5;
  Speed speed;
  speed.cpu = cpu_name();
  speed.isa = isa_name(options.isa);
  speed.rounds = 5;
  Runner original(*model.model, Execution::kFloat, options.isa, options.threads),
      integer(*model.model, Execution::kInteger, options.isa, options.threads);
  Runner* const both[] = {&original, &integer};
  speed.threads = integer.threads();
  for (int round = 0; round < speed.rounds; ++round) {
    const std::vector<Latency> latency = measure_latencies(both, benchmark);
    speed.float_ms = round == 0 ? latency[0].median_ms : std::min(speed.float_ms, latency[0].median_ms);
    speed.integer_ms = round == 0 ? latency[1].median_ms : std::min(speed.integer_ms, latency[1].median_ms);
  }
  return speed;
}

std::optional<GroupedExample> grouped(const RangeExample& ranges, const QuantizationPlan& plan) {
  if (ranges.site.empty()) return {};
  if (ranges.head >= 0) {
    const auto found = plan.attentions.find(ranges.site);
    if (found == plan.attentions.end() || found->second.softmax.grouping == Grouping::kFloat) return {};
    return group_example(ranges, found->second.softmax);
  }
  const auto found = plan.linears.find(ranges.site);
  if (found == plan.linears.end() || found->second.input.grouping == Grouping::kFloat) return {};
  return group_example(ranges, found->second.input);
}

}  // namespace

std::string class_name(const ReportData& data, int c) {
  const auto at = static_cast<std::size_t>(c);
  return at < data.config.labels.size() ? data.config.labels[at] : fmt::format("class {}", c);
}

ReportData collect_report(const LoadedModel& model, const LoadedModel* reference, const ReportOptions& options,
                          const StageProgress& progress) {
  if (!model.quantized) fail("{} is not an .igq file: quantize it first with `igq quantize`", model.name);
  if (reference != nullptr && reference->quantized)
    fail("{} is quantized already: --float takes the float model", reference->name);
  const QuantizationPlan& plan = *model.model->plan();
  ReportData data;
  data.file = model.name;
  data.config = model.model->config();
  data.provenance = model.provenance;
  data.file_mb = static_cast<double>(options.file_bytes) / 1e6;
  data.float_mb = static_cast<double>(count_parameters(data.config)) * sizeof(float) / 1e6;
  data.sites = site_rows(data.config, &plan);
  data.gbops = model_gbops(site_shapes(data.config), &plan);
  data.float_gbops = model_gbops(site_shapes(data.config), nullptr);
  data.one_group_gbops = one_group_gbops(data.config, &plan);
  Examples examples;
  try {
    read_stored_noise(model.report, data);
    data.allocation = stored_allocation(model.report);
    data.verdict = stored_verdict(model.report);
    if (const json* stored = json_find(model.report, "examples")) examples = examples_from_json(*stored, *model.model);
  } catch (const Error& e) {
    fail("{}: its report data are damaged ({}): quantize again", model.name, e.what());
  }

  ThreadPool pool(options.threads);
  std::vector<Sample> readable;
  std::unique_ptr<Model> hybrid;
  if (reference != nullptr) {
    hybrid = with_float_weights(model, reference->tensors);
    if (hybrid == nullptr)
      fail("{} is not the float model that {} was made from: its weights have other shapes or names", reference->name,
           model.name);
    data.float_name = reference->name;
  }
  const bool encoder = data.config.num_classes == 0;
  if (!options.samples.empty() && !encoder) measure_predictions(model, reference, options, progress, data, readable);
  if (encoder) readable = options.samples;
  if (encoder && reference != nullptr && !readable.empty())
    data.vectors = compare_vectors(*reference->model, *model.model, readable, options.isa, pool, progress);
  if (!readable.empty()) {
    if (reference != nullptr) measure_noise(model, *reference, *hybrid, options, readable, progress, pool, data);
    examples = measure_examples(*model.model, options.isa, pool,
                                std::min<std::int64_t>(kExampleImages, static_cast<std::int64_t>(readable.size())),
                                load_samples(data.config, readable));
    data.examples_on_data = true;
  }
  data.channels = grouped(examples.channels, plan);
  data.rows = grouped(examples.rows, plan);
  for (auto* example : {&data.channels, &data.rows}) {
    if (!*example) continue;
    for (std::size_t i = 0; i < (*example)->images.size(); ++i) {
      (*example)->image_names.push_back(data.examples_on_data ? readable[i].relative
                                                              : fmt::format("calibration image {}", i + 1));
      if (data.examples_on_data) (*example)->thumbnails.push_back(thumbnail(readable[i], data.config));
    }
  }
  if (options.speed) data.speed = measure_speed(model, options);
  return data;
}

}  // namespace igq::report
