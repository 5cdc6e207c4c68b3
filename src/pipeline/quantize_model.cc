#include "pipeline/quantize_model.h"

#include <algorithm>
#include <memory>

#include "allocation/better_plans.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/hash.h"
#include "calibration/balance.h"
#include "calibration/refine.h"
#include "eval/benchmark.h"
#include "igq/version.h"
#include "io/memory_tensors.h"
#include "io/overlaid_tensors.h"
#include "io/preprocess.h"
#include "pipeline/examples.h"

namespace igq {
namespace {

std::function<void(std::int64_t)> stage(const StageProgress& progress, const std::string& name, std::int64_t units) {
  if (!progress) return {};
  return progress(name, units);
}

/// What the .igq file remembers of each site's error, for `inspect` and `report`.
nlohmann::json noise_to_json(const Comparison& noise) {
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteNoise& s : noise.sites) {
    nlohmann::json entry = {{"site", s.site}, {"snr_accumulated_db", s.accumulated}};
    if (s.alone) entry["snr_alone_db"] = *s.alone;
    sites.push_back(std::move(entry));
  }
  return {{"images", noise.images}, {"logits_snr_db", noise.logits_snr}, {"sites", std::move(sites)}};
}

/// The sites for which one quantizer lost less than the groups asked for.
nlohmann::json better_plans_to_json(const std::vector<BetterPlan>& better) {
  nlohmann::json sites = nlohmann::json::array();
  for (const BetterPlan& b : better)
    sites.push_back({{"site", b.site}, {"error_of_groups", b.planned}, {"error_of_one", b.layer}});
  return sites;
}

/// What it remembers of the reconstruction.
nlohmann::json reconstruction_to_json(const Reconstruction& reconstruction) {
  nlohmann::json blocks = nlohmann::json::array();
  for (const BlockReconstruction& b : reconstruction.blocks)
    blocks.push_back({{"block", b.block}, {"error_before", b.before}, {"error_after", b.after}, {"kept", b.kept}});
  return {{"out_of_time", reconstruction.out_of_time}, {"blocks", std::move(blocks)}};
}

/// The checkpoint's tensors with other biases and norms.
std::shared_ptr<const TensorSource> with_biases(const std::shared_ptr<const TensorSource>& tensors, BiasMap biases) {
  const auto changed = std::make_shared<MemoryTensors>(tensors->origin());
  for (auto& [name, values] : biases) {
    const Shape shape{static_cast<std::int64_t>(values.size())};
    changed->add(name, shape, std::move(values));
  }
  return std::make_shared<OverlaidTensors>(changed, tensors);
}

Reconstruction reconstruct(Runner& runner, Model& model, const std::shared_ptr<QuantizationPlan>& plan,
                           const TensorSource& tensors, const QuantizeOptions& options, const CalibrationSet& images,
                           const StageProgress& progress) {
  constexpr std::int64_t kUnits = 1000;
  const auto tick = stage(progress, "reconstructing blocks", kUnits);
  ReconstructOptions reconstruction;
  reconstruction.minutes = options.reconstruct_minutes;
  reconstruction.seed = options.seed;
  const std::unique_ptr<Model> original = build_model(model.config(), tensors);
  return reconstruct_blocks(model, plan, *original, reconstruction, images.count, images.load, runner.isa(),
                            runner.pool(), [&](std::int64_t done, std::int64_t total) {
                              if (tick) tick(kUnits * done / total);
                            });
}

Allocation allocate(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                    const QuantizeJob& job, const CalibrationSet& images, const std::string& checksum,
                    const StageProgress& progress) {
  constexpr std::int64_t kUnits = 1000;
  const auto tick = stage(progress, "measuring layers", kUnits);
  PerturbationOptions perturbation;
  perturbation.cache = job.perturbation_cache;
  perturbation.model_checksum = checksum;
  const Perturbations measured = measure_perturbations(runner, statistics, options, images.count, images.load,
                                                       perturbation, [&](const PerturbationProgress& p) {
                                                         if (tick) tick(static_cast<std::int64_t>(p.fraction * kUnits));
                                                       });
  return allocate_groups(site_shapes(runner.model().config()), options, measured.sites,
                         {job.average_groups, job.budget_gbops});
}

}  // namespace

SiteSetting planned_setting(const SiteShape& shape, const QuantizationPlan* plan) {
  SiteSetting setting;
  if (plan == nullptr) return setting;
  const ActivationPlan* activation = nullptr;
  if (shape.attention) {
    const auto found = plan->attentions.find(shape.name);
    if (found == plan->attentions.end()) return setting;
    setting.weight_bits = found->second.qkv.bits;
    activation = &found->second.softmax;
  } else {
    const auto found = plan->linears.find(shape.name);
    if (found == plan->linears.end()) return setting;
    setting.weight_bits = found->second.weight.bits;
    activation = &found->second.input;
  }
  setting.grouping = activation->grouping;
  if (setting.grouping != Grouping::kFloat) setting.activation_bits = activation->bits;
  const auto each = static_cast<int>(shape.attention ? shape.tokens : shape.in);
  setting.groups =
      setting.grouping == Grouping::kUpperBound ? each : std::max<int>(1, static_cast<int>(activation->groups.size()));
  return setting;
}

void restore_float(LoadedModel& float_model) {
  if (float_model.model->plan() == nullptr) return;
  float_model.model = build_model(float_model.model->config(), *float_model.tensors);
}

double model_gbops(const ModelConfig& config, const QuantizationPlan* plan) {
  std::int64_t total = 0;
  for (const SiteShape& shape : site_shapes(config)) total += site_bops(shape, planned_setting(shape, plan)).total();
  return static_cast<double>(total) / 1e9;
}

CalibrationSet calibration_from_files(const Model& model, std::vector<Sample> samples) {
  Hasher hasher;
  for (const Sample& sample : samples) {
    const std::string bytes = read_file(sample.path);
    hasher.update(std::as_bytes(std::span(bytes)));
  }
  CalibrationSet set;
  set.count = static_cast<std::int64_t>(samples.size());
  set.checksum = hash_text(hasher.digest());
  const auto kept = std::make_shared<const std::vector<Sample>>(std::move(samples));
  const ModelConfig& config = model.config();
  set.load = [preprocess = config.preprocess, height = config.image_height, width = config.image_width, kept](
                 std::int64_t i, float* image) {
    preprocess_file((*kept)[static_cast<std::size_t>(i)].path, preprocess, height, width, image);
  };
  return set;
}

CalibrationSet synthetic_calibration(const Model& model, std::int64_t count, std::uint64_t seed) {
  const auto images = std::make_shared<const AlignedBuffer<float>>(synthetic_images(model.config(), count, seed));
  CalibrationSet set;
  set.count = count;
  set.checksum = hash_text(hash_bytes(std::as_bytes(std::span(images->data(), images->size()))));
  const std::int64_t floats = model.image_floats();
  set.load = [images, floats](std::int64_t i, float* image) {
    std::copy_n(images->data() + i * floats, floats, image);
  };
  return set;
}

QuantizeReport quantize_model(LoadedModel& float_model, const CalibrationSet& images, const QuantizeJob& job, Isa isa,
                              int threads, std::int64_t noise_images, const StageProgress& progress) {
  if (float_model.quantized) fail("{} is quantized already: start from the float model", float_model.name);
  if (images.count < 1) fail("no calibration images");
  QuantizeOptions options = job.options;  // allocation fills in the groups of single sites
  restore_float(float_model);
  Model& model = *float_model.model;
  Runner runner(model, Execution::kFloat, isa, threads);
  QuantizeReport report;
  const std::string checksum = checkpoint_checksum(*float_model.tensors);
  auto plan = std::make_shared<QuantizationPlan>();
  BiasMap biases;
  if (options.balance) biases = balance_queries_and_keys(model, options, images.count, images.load, isa, runner.pool());
  {
    const auto tick = stage(progress, "calibrating", images.count);
    const Statistics statistics =
        collect_statistics(runner, images.count, options.seed, images.load, [&](std::int64_t i) {
          if (tick) tick(i + 1);
        });
    report.calibration_bytes = statistics.bytes();
    if (job.allocate) {
      report.allocation = allocate(runner, statistics, options, job, images, checksum, progress);
      options.site_groups = report.allocation->site_groups;
      report.model.report["allocation"] = allocation_to_json(*report.allocation);
    }
    *plan = make_plan(model, statistics, options, runner.pool());
    if (options.never_worse) {
      const auto measured = stage(progress, "comparing with one quantizer per layer", images.count);
      const std::vector<BetterPlan> better =
          take_better_plans(runner, statistics, options, images.count, images.load, *plan);
      if (measured) measured(images.count);
      if (!better.empty()) report.model.report["one_quantizer"] = better_plans_to_json(better);
    }
  }
  QuantizedModel& result = report.model;
  result.tensors = float_model.tensors;
  if (options.weights == WeightMethod::kNearest) {
    model.set_plan(plan);
  } else {
    const auto tick = stage(progress, "rounding weights", static_cast<std::int64_t>(plan->linears.size()));
    BiasMap refined = refine_weights(model, plan, options, images.count, images.load, isa, runner.pool(),
                                     [&](const RefineProgress& p) {
                                       report.calibration_bytes = std::max(report.calibration_bytes, p.bytes);
                                       if (tick) tick(p.done);
                                     });
    for (auto& [name, values] : refined) biases[name] = std::move(values);
  }
  if (options.reconstruct) {
    Reconstruction& tuned = report.reconstruction.emplace(
        reconstruct(runner, model, plan, *float_model.tensors, options, images, progress));
    report.calibration_bytes = std::max(report.calibration_bytes, tuned.bytes);
    result.report["reconstruction"] = reconstruction_to_json(tuned);
    for (auto& [name, values] : tuned.vectors) biases[name] = std::move(values);
    tuned.vectors.clear();
  }
  const bool rewritten = options.balance || !biases.empty();  // refined or balanced weights come with other biases
  if (rewritten) result.tensors = with_biases(float_model.tensors, std::move(biases));
  if (options.balance) result.report[kBalancedKey] = true;
  result.config = model.config();
  result.plan = *plan;
  Provenance& provenance = result.provenance;
  provenance.source = float_model.name;
  provenance.source_checksum = checksum;
  provenance.calibration_checksum = images.checksum;
  provenance.calibration_images = images.count;
  provenance.seed = options.seed;
  provenance.tool_version = IGQ_VERSION;
  provenance.settings = job_text(job);
  if (noise_images > 0) {
    const std::int64_t count = std::min(noise_images, images.count);
    const auto tick = stage(progress, "measuring errors", count);
    CompareOptions compare;
    compare.test = Execution::kSimulate;
    const std::unique_ptr<Model> original = rewritten ? build_model(model.config(), *float_model.tensors) : nullptr;
    // Balanced qkv layers have other outputs in float, too: compare with those.
    if (options.balance) balance_queries_and_keys(*original, options, images.count, images.load, isa, runner.pool());
    report.noise = compare_models(original != nullptr ? *original : model, model, compare, isa, runner.pool(), count,
                                  images.load, [&](std::int64_t i) {
                                    if (tick) tick(i);
                                  });
    result.report["noise"] = noise_to_json(report.noise);
    constexpr std::int64_t kExampleImages = 2;
    result.report["examples"] = examples_to_json(
        measure_examples(model, isa, runner.pool(), std::min(kExampleImages, images.count), images.load));
  }
  return report;
}

}  // namespace igq
