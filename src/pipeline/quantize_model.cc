#include "pipeline/quantize_model.h"

#include <algorithm>
#include <memory>
#include <set>

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
#include "pipeline/calibration_state.h"
#include "pipeline/examples.h"

namespace igq {
namespace {

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
  const auto tick = begin_stage(progress, "reconstructing blocks", kUnits);
  ReconstructOptions reconstruction;
  reconstruction.minutes = options.reconstruct_minutes;
  reconstruction.seed = options.seed;
  const std::unique_ptr<Model> original = build_model(model.config(), tensors);
  return reconstruct_blocks(model, plan, *original, reconstruction, images.count, images.load, runner.isa(),
                            runner.pool(), [&](std::int64_t done, std::int64_t total) { tick(kUnits * done / total); });
}

/// Measures what an allocation needs, with its options.
Perturbations perturb(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                      const QuantizeJob& job, const CalibrationSet& images, const std::string& checksum,
                      const StageProgress& progress) {
  constexpr std::int64_t kUnits = 1000;
  const auto tick = begin_stage(progress, "measuring layers", kUnits);
  PerturbationOptions perturbation = perturbation_options(job);
  perturbation.cache = job.perturbation_cache;
  if (perturbation.cache.empty() && !job.state.empty() && make_state_folder(job.state))
    perturbation.cache = perturbation_state(job.state);
  perturbation.model_checksum = checksum;
  return measure_perturbations(
      runner, statistics, options, images.count, images.load, perturbation,
      [&](const PerturbationProgress& p) { tick(static_cast<std::int64_t>(p.fraction * kUnits)); });
}

/// Bits of the file that are left for the weights whose bits are a choice.
std::int64_t size_for_weights(std::span<const SiteShape> shapes, const std::map<std::string, Shape>& tensors,
                              const QuantizeJob& job) {
  constexpr std::int64_t kHeader = 200'000;  // JSON: plan, report, names of tensors
  std::int64_t fixed = 8 * kHeader, floats = 0;
  for (const auto& [name, shape] : tensors) {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n *= d;
    floats += n;
  }
  for (const SiteShape& shape : shapes) {
    const SiteSetting setting = site_setting(shape, job.options);
    if (shape.attention || setting.weight_bits > 8) continue;
    floats -= shape.contraction() * shape.out;
    fixed += shape.out * 64;  // scale and zero-point
    if (!has_bit_choice(shape, job.options))
      fixed += weight_size(shape, setting.weight_bits, job.options.weight_groups);
  }
  return 8 * job.file_bytes - fixed - 32 * floats;
}

/// What the images alone tell.
void add_notes_on(const CalibrationSet& images, const ModelConfig& config, std::vector<std::string>& notes) {
  std::set<std::uint64_t> different;
  bool flat = true;
  const std::int64_t plane = static_cast<std::int64_t>(config.image_height) * config.image_width,
                     floats = plane * config.in_channels;
  AlignedBuffer<float> image(static_cast<std::size_t>(floats));
  for (std::int64_t i = 0; i < images.count; ++i) {
    images.load(i, image.data());
    different.insert(hash_bytes(std::as_bytes(std::span(image.data(), image.size()))));
    for (std::int64_t p = 0; p < floats && flat; ++p)
      flat = image[static_cast<std::size_t>(p)] == image[static_cast<std::size_t>(p / plane * plane)];
  }
  const char* advice = "ranges and weights fit nothing else; calibrate with images of the kind the model will see";
  if (flat)
    notes.push_back(fmt::format("the calibration images show nothing but one colour each: {}", advice));
  else if (images.count == 1)
    notes.push_back(fmt::format("there is only 1 calibration image: {}", advice));
  else if (different.size() == 1)
    notes.push_back(fmt::format("the {} calibration images are all the same: {}", images.count, advice));
  else if (different.size() < static_cast<std::size_t>(images.count))
    notes.push_back(fmt::format("{} of the {} calibration images are copies of others",
                                images.count - static_cast<std::int64_t>(different.size()), images.count));
}

/// Float against what runs, on the images held back or else on calibration images; examples for the report.
void measure(Runner& runner, Model& model, const TensorSource& tensors, const CalibrationSet& images,
             const QuantizeOptions& options, std::int64_t noise_images, const StageProgress& progress,
             QuantizeReport& report) {
  // `model` has other biases now; balanced queries and keys have other outputs in float, too.
  const std::unique_ptr<Model> original = build_model(model.config(), tensors);
  if (options.balance)
    balance_queries_and_keys(*original, options, images.count, images.load, runner.isa(), runner.pool());
  const bool held_back = images.held_back > 0;
  const std::int64_t count = held_back ? images.held_back : std::min(noise_images, images.count);
  const std::int64_t first = held_back ? images.count : 0;
  const auto load = [&](std::int64_t i, float* image) { images.load(first + i, image); };
  const auto tick = begin_stage(progress, "measuring errors", count);
  CompareOptions compare;
  compare.alone_images = noise_images;
  report.noise = compare_models(*original, model, compare, runner.isa(), runner.pool(), count, load,
                                [&](std::int64_t i) { tick(i); });
  report.verdict = judge(report.noise, held_back);
  report.model.report["noise"] = noise_to_json(report.noise);
  report.model.report["verdict"] = verdict_to_json(report.verdict);
  constexpr std::int64_t kExampleImages = 2;
  report.model.report["examples"] =
      examples_to_json(measure_examples(model, runner.isa(), runner.pool(), std::min(kExampleImages, count), load));
}

}  // namespace

PerturbationOptions perturbation_options(const QuantizeJob& job) {
  PerturbationOptions perturbation;
  if (job.measure_all) perturbation.anchors.clear();
  if (job.allocate_bits) {
    perturbation.activation_bits = perturbation.weight_bits = kBitCandidates;
    perturbation.choose_groups = job.allocate;
  }
  return perturbation;
}

BitAllocation allocate_all_bits(std::span<const SiteShape> shapes, const std::map<std::string, Shape>& tensors,
                                const Perturbations& measured, const QuantizeJob& job) {
  BitBudget budget{job.average_weight_bits, job.average_activation_bits, 0};
  if (job.file_bytes > 0) {
    budget.weight_size = size_for_weights(shapes, tensors, job);
    if (budget.weight_size <= 0)
      fail("--file-size {:.2f} MB is less than what stays float and the patch embedding and head take",
           static_cast<double>(job.file_bytes) / 1e6);
  }
  return allocate_bits(shapes, job.options, measured, budget);
}

std::function<void(std::int64_t)> begin_stage(const StageProgress& progress, const std::string& name,
                                              std::int64_t units) {
  std::function<void(std::int64_t)> tick;
  if (progress) tick = progress(name, units);
  return [tick = std::move(tick)](std::int64_t done) {
    if (tick) tick(done);
  };
}

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

double model_gbops(std::span<const SiteShape> shapes, const QuantizationPlan* plan) {
  std::int64_t total = 0;
  for (const SiteShape& shape : shapes) total += site_bops(shape, planned_setting(shape, plan)).total();
  return static_cast<double>(total) / 1e9;
}

CalibrationSet calibration_from_files(const Model& model, std::vector<Sample> samples,
                                      const std::vector<Sample>& held_back) {
  Hasher hasher;
  for (const Sample& sample : samples) {
    const std::string bytes = read_file(sample.path);
    hasher.update(std::as_bytes(std::span(bytes)));
  }
  CalibrationSet set;
  set.count = static_cast<std::int64_t>(samples.size());
  set.checksum = hash_text(hasher.digest());
  set.held_back = static_cast<std::int64_t>(held_back.size());
  samples.insert(samples.end(), held_back.begin(), held_back.end());
  const auto kept = std::make_shared<const std::vector<Sample>>(std::move(samples));
  const ModelConfig& config = model.config();
  set.load = [preprocess = config.preprocess, height = config.image_height, width = config.image_width, kept](
                 std::int64_t i, float* image) {
    preprocess_file((*kept)[static_cast<std::size_t>(i)].path, preprocess, height, width, image);
  };
  return set;
}

CalibrationSplit split_calibration(const ImageFolder& folder, int samples, int held_back, std::uint64_t seed) {
  constexpr std::int64_t kWanted = 32, kEnough = 8, kFewest = 16;
  const auto all = static_cast<std::int64_t>(folder.samples.size());
  std::int64_t kept = std::min<std::int64_t>(samples, all), held = held_back;
  if (held_back < 0) {
    held = std::min(kWanted, all - kept);
    if (held < kEnough) held = all < kFewest ? 0 : std::max(held, std::min(kEnough, all / 4));
  }
  held = std::min(held, all - 1);
  kept = std::min(kept, all - held);
  CalibrationSplit split;
  split.calibration = choose_samples(folder, static_cast<int>(kept + held), seed);
  split.held_back.assign(split.calibration.begin() + kept, split.calibration.end());
  split.calibration.resize(static_cast<std::size_t>(kept));
  return split;
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
  QuantizeJob used = job;
  QuantizeOptions& options = used.options;  // allocation fills in the groups of single sites
  restore_float(float_model);
  Model& model = *float_model.model;
  const AllocationBudget budget{job.average_groups, job.budget_gbops};
  if (job.allocate && !job.allocate_bits) check_budget(site_shapes(model.config()), options, budget);
  Runner runner(model, Execution::kFloat, isa, threads);
  QuantizeReport report;
  const std::string checksum = checkpoint_checksum(*float_model.tensors);
  Provenance& provenance = report.model.provenance;
  provenance.source = float_model.name;
  provenance.source_checksum = checksum;
  provenance.calibration_checksum = images.checksum;
  provenance.calibration_images = images.count;
  provenance.seed = options.seed;
  provenance.tool_version = IGQ_VERSION;
  provenance.settings = job_text(used);
  add_notes_on(images, model.config(), report.notes);
  auto plan = std::make_shared<QuantizationPlan>();
  BiasMap biases;
  if (options.balance) biases = balance_queries_and_keys(model, options, images.count, images.load, isa, runner.pool());
  {
    const auto tick = begin_stage(progress, "calibrating", images.count);
    const Statistics statistics =
        collect_statistics(runner, images.count, options.seed, images.load, [&](std::int64_t i) { tick(i + 1); });
    report.calibration_bytes = statistics.bytes();
    if (job.allocate_bits) {
      report.bit_allocation =
          allocate_all_bits(site_shapes(model.config()), expected_tensors(model.config()),
                            perturb(runner, statistics, options, job, images, checksum, progress), used);
      options.allocated_bits = report.bit_allocation->site_bits;
      options.site_groups = report.bit_allocation->site_groups;
      report.model.report["bit_allocation"] = bit_allocation_to_json(*report.bit_allocation);
    } else if (job.allocate) {
      report.allocation =
          allocate_groups(site_shapes(model.config()), options,
                          perturb(runner, statistics, options, job, images, checksum, progress).sites, budget);
      options.site_groups = report.allocation->site_groups;
      report.model.report["allocation"] = allocation_to_json(*report.allocation);
    }
    *plan = make_plan(model, statistics, options, runner.pool());
    if (options.never_worse) {
      const auto measured = begin_stage(progress, "comparing with one quantizer per layer", images.count);
      const std::vector<BetterPlan> better =
          take_better_plans(runner, statistics, options, images.count, images.load, *plan);
      measured(images.count);
      if (!better.empty()) report.model.report["one_quantizer"] = better_plans_to_json(better);
    }
  }
  QuantizedModel& result = report.model;
  result.tensors = float_model.tensors;
  if (options.weights == WeightMethod::kNearest) {
    model.set_plan(plan);
  } else {
    const auto tick = begin_stage(progress, "rounding weights", static_cast<std::int64_t>(plan->linears.size()));
    std::vector<std::string> alike;
    RefineHooks hooks;
    hooks.progress = [&](const RefineProgress& p) {
      report.calibration_bytes = std::max(report.calibration_bytes, p.bytes);
      if (p.alike) alike.push_back(p.site);
      tick(p.done);
    };
    Provenance key = provenance;  // float sums may differ between instruction sets
    key.settings += fmt::format(" --isa {}", isa_name(isa));
    CalibrationState state(job.state, std::move(key), model.config());
    if (!job.state.empty()) hooks.finished = &state;
    BiasMap refined = refine_weights(model, plan, options, images.count, images.load, isa, runner.pool(), hooks);
    for (auto& [name, values] : refined) biases[name] = std::move(values);
    report.resumed_layers = state.found();
    if (!state.trouble().empty())
      report.notes.push_back("finished layers were not kept, an interruption would have begun anew: " +
                             state.trouble());
    if (!alike.empty())
      report.notes.push_back(
          fmt::format("the calibration images make the inputs of {} layers all alike ({}{}): their "
                      "weights are rounded as if all inputs mattered alike",
                      alike.size(), alike.front(), alike.size() > 1 ? ", ..." : ""));
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
  if (noise_images > 0) measure(runner, model, *float_model.tensors, images, options, noise_images, progress, report);
  return report;
}

}  // namespace igq
