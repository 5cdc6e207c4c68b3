#include "quantize_detector.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>

#include "allocation_lines.h"
#include "base/fail.h"
#include "calibration/refine_network.h"
#include "dry_run.h"
#include "detectors/detector_file.h"
#include "folders.h"
#include "io/igq_container.h"
#include "pipeline/detector_latencies.h"
#include "pipeline/quantize_detector.h"
#include "report/detector_report.h"
#include "report/site_text.h"

namespace igq::cli {
namespace {

/// Some passes of the detector just made, in float and in integers in turn.
SpeedOnThisMachine measure_speed(Detector& detector, const Image& picture, const RunFlags& run) {
  DetectorRunner original(detector, Execution::kFloat, run.parsed_isa(), run.threads),
      integer(detector, Execution::kInteger, run.parsed_isa(), run.threads);
  DetectorRunner* const both[] = {&original, &integer};
  const std::vector<Latency> latency = measure_latencies(both, picture, quick_benchmark());
  return {latency[0].median_ms / latency[1].median_ms, integer.pool().size()};
}

/// Shapes and the time of a pass come from the first calibration picture.
void dry_run(LoadedDetector& loaded, const CalibrationSplit& split, const QuantizeJob& job,
             const QuantizeDetectorFlags& flags, const RunFlags& run) {
  if (loaded.quantized) fail("{} is quantized already: start from the float detector", loaded.name);
  const DetectorScope scope = parse_scope(flags.scope);
  DetectorRunner runner(*loaded.detector, Execution::kFloat, run.parsed_isa(), run.threads);
  const Image picture = load_image(split.calibration.front().path, picture_orientation(*loaded.detector));
  const float threshold = loaded.detector->evaluation_threshold();
  ShapeObserver shapes(*loaded.detector);
  runner.watch(picture, threshold, shapes);
  DryRun dry;
  dry.work.most_inputs = kMostMoments;
  dry.shapes = shapes.means(1);
  dry.float_values = static_cast<std::int64_t>(float_bytes(loaded.tensors->shapes()) / 4.0);
  dry.settings = detector_job_text(job, scope);
  dry.work.images = static_cast<std::int64_t>(split.calibration.size());
  dry.work.judged = split.held_back.empty() ? flags.noise_images : static_cast<std::int64_t>(split.held_back.size());
  dry.work.pass_seconds = timed_pass([&] { runner.detect(picture, threshold); });
  const QuantizeOptions options = detector_options(job, scope);
  if (job.allocate) dry.work.trials = trial_passes(dry.work.images, dry.shapes, options, perturbation_options(job));
  print_dry_run(dry, job, options, run.json);
}

}  // namespace

Table detector_site_table(const Network& network, const std::vector<SiteNoise>& noise) {
  Table table({"site", "weights", "activations", "grouping", "groups", "alone dB"});
  for (const report::SiteRow& row : report::site_rows(network)) {
    const bool coded = row.grouping != Grouping::kFloat;
    const auto measured =
        std::find_if(noise.begin(), noise.end(), [&](const SiteNoise& n) { return n.site == row.name; });
    table.add({row.name, row.weight_bits > 8 ? "-" : fmt::format("{}", row.weight_bits),
               coded ? fmt::format("{}", row.activation_bits) : "float",
               coded ? std::string(grouping_name(row.grouping)) : "-", report::groups_text(row),
               measured != noise.end() && measured->alone ? fmt::format("{:.1f}", *measured->alone) : "-"});
  }
  return table;
}

void quantize_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                       const QuantizeDetectorFlags& flags, int& exit_code) {
  const QuantizeJob job = quantize.job();
  check_detector_job(job);
  const DetectorScope scope = parse_scope(flags.scope);
  if (!flags.dry_run) check_output(flags.output, flags.overwrite, kIgqOutput);
  const auto start = std::chrono::steady_clock::now();
  LoadedDetector loaded = load_detector(model.path, model.architecture);
  quantize.check_sites(*loaded.detector);
  const ImageFolder folder = open_folder(flags.calibration_dir);
  const CalibrationSplit split = split_calibration(folder, flags.samples, flags.held_back, job.options.seed);
  if (split.held_back.empty() && flags.noise_images > 0)
    note(
        "igq: no images are held back: the verdict is on images that the detector was calibrated with, which flatters "
        "it");
  if (flags.dry_run) return dry_run(loaded, split, job, flags, run);
  const DetectorPictures pictures =
      pictures_from_files(*loaded.detector, paths_of(split.calibration), paths_of(split.held_back));
  DetectorReport report;
  {
    std::unique_ptr<Progress> progress;
    report = quantize_detector(loaded, pictures, job, scope, run.parsed_isa(), run.threads, flags.noise_images,
                               stage_progress(progress));
  }
  save_detector(flags.output, report.detector, flags.overwrite);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double file_mb = static_cast<double>(std::filesystem::file_size(flags.output)) / 1e6,
               before_mb = float_bytes(loaded.tensors->shapes()) / 1e6;
  for (const std::string& line : report.notes) note("igq: note: " + line);
  std::optional<SpeedOnThisMachine> speed;
  if (flags.noise_images > 0 || flags.speed.wanted()) speed = measure_speed(*loaded.detector, pictures.load(0), run);
  const bool judged = report.agreement.images > 0;
  const double lost = 100.0 - report.agreement.found_percent();
  if (flags.max_drop >= 0.0 && !(lost <= flags.max_drop)) exit_code = kGateNotMet;
  if (run.json) {
    nlohmann::json document = {{"model", loaded.name},
                               {"output", flags.output},
                               {"settings", report.detector.provenance.settings},
                               {"calibration_images", pictures.count},
                               {"calibration_memory_mb", static_cast<double>(report.calibration_bytes) / 1e6},
                               {"peak_rss_mb", peak_rss_mb()},
                               {"seconds", seconds},
                               {"file_mb", file_mb},
                               {"float_mb", before_mb},
                               {"notes", report.notes},
                               {"warnings", report.warnings},
                               {"report", report.detector.report}};
    if (speed) document["speedup"] = speed->ratio;
    print_json(document);
  } else {
    std::cout << detector_site_table(*loaded.detector, report.sites).text();
    std::cout << groups_line(quantize, *report.detector.plan) << bits_line(report.bit_allocation);
    std::cout << fmt::format("\n{}: {:.1f} MB from {:.1f} MB in float ({:.1f}x smaller), {} calibration images\n",
                             flags.output, file_mb, before_mb, before_mb / file_mb, pictures.count);
    std::cout << fmt::format("took {:.0f} s; memory: statistics {}, peak {:.0f} MB\n", seconds,
                             megabytes(static_cast<double>(report.calibration_bytes)), peak_rss_mb());
    std::cout << (judged ? agreement_text(report.agreement) : "no verdict: --noise-images is 0\n");
    if (speed) std::cout << speed_text(*speed, run.parsed_isa()) << '\n';
    std::cout << std::flush;
  }
  for (const std::string& warning : report.warnings) note("igq: WARNING: " + warning);
  const bool dropped = exit_code == kGateNotMet;
  if (speed) flags.speed.judge(speed->ratio, exit_code);
  if (dropped)
    note(fmt::format("igq: {:.2f} % of float's objects are not found again, more than --max-drop {}", lost,
                     flags.max_drop));
}

}  // namespace igq::cli
