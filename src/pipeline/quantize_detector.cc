#include "pipeline/quantize_detector.h"

#include <algorithm>
#include <array>
#include <memory>

#include "allocation/better_plans.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/hash.h"
#include "calibration/refine_network.h"
#include "detectors/detector_runner.h"
#include "igq/version.h"
#include "io/memory_tensors.h"
#include "io/overlaid_tensors.h"
#include "models/checkpoint.h"
#include "pipeline/shadow_sites.h"

namespace igq {
namespace {

/// The float tensors with the biases that the quantized layers add.
std::shared_ptr<const TensorSource> with_effective_biases(const LoadedDetector& loaded, const QuantizationPlan& plan) {
  const auto biases = std::make_shared<MemoryTensors>(loaded.tensors->origin());
  for (const Site& site : loaded.detector->sites()) {
    if (!site.has_weights() || site.bias().empty()) continue;
    const auto planned = plan.linears.find(site.name);
    if (planned == plan.linears.end() || planned->second.weight.bits == 0) continue;
    AlignedBuffer<float> values(site.bias().size());
    std::copy(site.bias().begin(), site.bias().end(), values.begin());
    const Shape shape{static_cast<std::int64_t>(values.size())};
    biases->add(site.name + ".bias", shape, std::move(values));
  }
  return std::make_shared<OverlaidTensors>(biases, loaded.tensors);
}

/// Groups or bits of the sites as the job asks for them, by the divergence of the detector's outputs.
void allocate(DetectorRunner& runner, const CalibrationPasses& passes, const Statistics& statistics,
              const TensorSource& tensors, QuantizeJob& job, const StageProgress& progress, DetectorReport& report) {
  if (!job.allocate && !job.allocate_bits) return;
  QuantizeOptions& options = job.options;
  const AllocationBudget budget{job.average_groups, job.budget_gbops};
  if (!job.allocate_bits) check_budget(report.shapes, options, budget);
  const PerturbationOptions perturbation = perturbation_options(job);
  const OutputProbe probe{passes, [&](int site) { return runner.divergence_of(site); }};
  const auto tick =
      begin_stage(progress, "measuring layers", trial_passes(passes.images, report.shapes, options, perturbation));
  const Perturbations measured = measure_perturbations(probe, report.shapes, statistics, options, perturbation, tick);
  nlohmann::json& stored = report.detector.report;
  if (job.allocate_bits) {
    report.bit_allocation = allocate_all_bits(report.shapes, tensors.shapes(), measured, job);
    options.allocated_bits = report.bit_allocation->site_bits;
    options.site_groups = report.bit_allocation->site_groups;
    stored["bit_allocation"] = bit_allocation_to_json(*report.bit_allocation);
  } else {
    report.allocation = allocate_groups(report.shapes, options, measured.sites, budget);
    options.site_groups = report.allocation->site_groups;
    stored["allocation"] = allocation_to_json(*report.allocation);
  }
}

/// Float against integers on the pictures that judge.
void measure(LoadedDetector& loaded, const DetectorPictures& pictures, std::int64_t noise_images,
             DetectorRunner& runner, Isa isa, const StageProgress& progress, DetectorReport& report) {
  report.held_back = pictures.held_back > 0;
  const std::int64_t count = report.held_back ? pictures.held_back : std::min(noise_images, pictures.count);
  if (count == 0) return;
  const std::unique_ptr<Detector> original = build_detector(loaded.description, loaded.tensors);
  DetectorRunner exact(*original, Execution::kFloat, isa, runner.pool().size());
  runner.prepare(Execution::kInteger);
  AgreementCounter agreement(*loaded.detector, truth_threshold(*original));
  ShadowSites shadow(*loaded.detector, runner.kernels(), runner.pool());
  const auto tick = begin_stage(progress, "measuring errors", count);
  for (std::int64_t i = 0; i < count; ++i) {
    const Image image = pictures.load(report.held_back ? pictures.count + i : i);
    const float threshold = original->evaluation_threshold();
    const bool shadowed = i < std::max<std::int64_t>(noise_images, 0);
    const auto truth = shadowed ? exact.watch(image, threshold, shadow) : exact.detect(image, threshold);
    agreement.add(truth, runner.detect(image, threshold), image.height, image.width);
    tick(i + 1);
  }
  report.agreement = agreement.result();
  report.sites = shadow.noise();
  report.warnings = agreement_warnings(report.agreement, report.held_back);
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteNoise& site : report.sites) sites.push_back({{"site", site.site}, {"snr_alone_db", *site.alone}});
  report.detector.report["agreement"] = agreement_to_json(report.agreement);
  report.detector.report["agreement"]["held_back"] = report.held_back;
  report.detector.report["noise"] = {{"images", std::min(count, noise_images)}, {"sites", std::move(sites)}};
}

}  // namespace

std::string_view scope_name(DetectorScope scope) { return scope == DetectorScope::kAll ? "all" : "backbone"; }

DetectorScope parse_scope(std::string_view name) {
  if (name == "all") return DetectorScope::kAll;
  if (name == "backbone") return DetectorScope::kBackbone;
  fail("unknown scope '{}': use one of all, backbone", name);
}

DetectorPictures pictures_from_files(const Detector& detector, std::vector<std::filesystem::path> calibration,
                                     const std::vector<std::filesystem::path>& held_back) {
  Hasher hasher;
  for (const std::filesystem::path& file : calibration) {
    const std::string bytes = read_file(file);
    hasher.update(std::as_bytes(std::span(bytes)));
  }
  DetectorPictures pictures;
  pictures.count = static_cast<std::int64_t>(calibration.size());
  pictures.held_back = static_cast<std::int64_t>(held_back.size());
  pictures.checksum = hash_text(hasher.digest());
  calibration.insert(calibration.end(), held_back.begin(), held_back.end());
  pictures.load = [files = std::move(calibration), orientation = picture_orientation(detector)](std::int64_t i) {
    return load_image(files[static_cast<std::size_t>(i)], orientation);
  };
  return pictures;
}

void check_detector_job(const QuantizeJob& job) {
  if (job.options.reconstruct) fail("--reconstruct is for classifiers, whose blocks it tunes");
  if (!job.perturbation_cache.empty())
    fail("--perturbation-cache is for classifiers: a detector's passes are not kept");
}

std::string detector_job_text(const QuantizeJob& job, DetectorScope scope) {
  QuantizeJob asked = job;
  asked.options = detector_options(job, scope);
  asked.options.keep = job.options.keep;  // what the scope adds follows from the scope
  return job_text(asked) + fmt::format(" --scope {}", scope_name(scope));
}

QuantizeOptions detector_options(const QuantizeJob& job, DetectorScope scope) {
  QuantizeOptions options = job.options;
  options.balance = false;  // needs a transformer's steps
  options.views = 1;
  const auto keep = [&](const char* pattern) {
    options.keep = options.keep.empty() ? pattern : fmt::format("(?:{})|{}", options.keep, pattern);
  };
  if (scope == DetectorScope::kBackbone) keep("^(?!backbone\\.|vit\\.)");
  // The paper's convention: convolutions, FC layers and products of attentions; what upsamples stays float.
  if (options.grouping == Grouping::kIgq) keep("\\.upsample$");
  return options;
}

CalibrationPasses detector_passes(DetectorRunner& runner, const DetectorPictures& pictures) {
  CalibrationPasses passes;
  passes.network = &runner.detector();
  passes.kernels = &runner.kernels();
  passes.images = pictures.count;
  passes.run = [&](std::int64_t i, SiteObserver& observer) {
    runner.watch(pictures.load(i), runner.detector().evaluation_threshold(), observer);
  };
  return passes;
}

DetectorReport quantize_detector(LoadedDetector& loaded, const DetectorPictures& pictures, const QuantizeJob& job,
                                 DetectorScope scope, Isa isa, int threads, std::int64_t noise_images,
                                 const StageProgress& progress) {
  if (loaded.quantized) fail("{} is quantized already: start from the float detector", loaded.name);
  if (pictures.count < 1) fail("no calibration images");
  check_detector_job(job);
  QuantizeJob used = job;  // allocation fills in the groups and bits of single sites
  used.options = detector_options(job, scope);
  QuantizeOptions& options = used.options;
  Detector& detector = *loaded.detector;
  DetectorReport report;
  Provenance& provenance = report.detector.provenance;
  provenance.source = loaded.name;
  provenance.source_checksum = checkpoint_checksum(*loaded.tensors);
  provenance.calibration_checksum = pictures.checksum;
  provenance.calibration_images = pictures.count;
  provenance.seed = options.seed;
  provenance.tool_version = IGQ_VERSION;
  provenance.settings = detector_job_text(job, scope);

  DetectorRunner runner(detector, Execution::kFloat, isa, threads);
  const CalibrationPasses passes = detector_passes(runner, pictures);
  auto plan = std::make_shared<QuantizationPlan>();
  {
    const auto tick = begin_stage(progress, "calibrating", pictures.count);
    ShapeObserver shapes(detector);
    CalibrationPasses watched = passes;
    watched.run = [&](std::int64_t i, SiteObserver& observer) {
      BothObservers both(observer, shapes);
      passes.run(i, both);
    };
    const Statistics statistics = collect_statistics(watched, options.seed, [&](std::int64_t i) { tick(i + 1); });
    report.shapes = shapes.means(passes.images);
    report.calibration_bytes = statistics.bytes();
    for (const std::string& site : statistics.unseen())
      report.notes.push_back(fmt::format("{} was not reached by any calibration image and stays float", site));
    allocate(runner, passes, statistics, *loaded.tensors, used, progress, report);
    *plan = make_plan(detector, statistics, options, runner.pool());
    if (options.never_worse) {
      const auto measured = begin_stage(progress, "comparing with one quantizer per layer", pictures.count);
      const std::vector<BetterPlan> better = take_better_plans(passes, statistics, options, *plan);
      measured(pictures.count);
      if (!better.empty()) report.detector.report["one_quantizer"] = better_plans_to_json(better);
    }
  }
  detector.set_plan(plan);
  runner.prepare(Execution::kInteger);
  if (options.weights != WeightMethod::kNearest) {
    const auto tick = begin_stage(progress, "rounding weights", static_cast<std::int64_t>(plan->linears.size()));
    const NetworkRefinement refined = refine_network(detector, plan, options, passes, Execution::kInteger,
                                                     runner.pool(), [&](int done, int) { tick(done); });
    report.calibration_bytes = std::max(report.calibration_bytes, refined.bytes);
    if (!refined.nearest.empty())
      report.notes.push_back(fmt::format(
          "{} layers have more than {} inputs ({}{}): their weights are rounded to nearest", refined.nearest.size(),
          kMostMoments, refined.nearest.front(), refined.nearest.size() > 1 ? ", ..." : ""));
  }
  report.detector.description = loaded.description;
  report.detector.plan = plan;
  report.detector.tensors = with_effective_biases(loaded, *plan);
  if (noise_images > 0 || pictures.held_back > 0)
    measure(loaded, pictures, noise_images, runner, isa, progress, report);
  return report;
}

}  // namespace igq
