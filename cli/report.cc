// igq report: one self-contained HTML page about a quantized model or detector, and a model card.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/fail.h"
#include "base/output_file.h"
#include "common.h"
#include "detect.h"
#include "folders.h"
#include "report/card.h"
#include "report/detector_report.h"
#include "report/html.h"
#include "report/report.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct ReportFlags {
  ModelFlags model;
  RunFlags run;
  std::string data_dir, float_model, output, card;
  std::int64_t limit = -1, noise_images = 16;
  bool no_speed = false, skip_bad_images = false, overwrite = false;
  ClassFlags classes;
};

/// Without --limit.
constexpr std::int64_t kClassifierImages = 500, kDetectorPictures = 50;

/// The images of --data-dir, labelled when every one lies in a class folder that the model has a class for.
void add_images(const ReportFlags& flags, const ModelConfig& config, report::ReportOptions& options) {
  ImageFolder folder = open_folder(flags.data_dir);
  options.labelled = !folder.classes.empty() && std::all_of(folder.samples.begin(), folder.samples.end(),
                                                            [](const Sample& s) { return s.label >= 0; });
  options.labelled = options.labelled && config.num_classes > 0 && flags.classes.try_label(folder, config);
  const std::int64_t limit = flags.limit < 0 ? kClassifierImages : flags.limit;
  options.samples = limit > 0 ? choose_samples(folder, static_cast<int>(limit), 0) : folder.samples;
}

void write_page(const ReportFlags& flags, const std::string& path, const std::string& text, const OutputKind& kind) {
  if (path.empty()) return;
  write_file(path, text, flags.overwrite, &kind);
  if (!flags.run.json) std::cout << fmt::format("{}: {:.0f} kB\n", path, static_cast<double>(text.size()) / 1e3);
}

void report_detector(const ReportFlags& flags) {
  if (flags.classes.order != "auto") fail("--class-order is for classifiers");
  if (flags.skip_bad_images) fail("--skip-bad-images is for classifiers");
  const LoadedDetector model = load_detector(flags.model.path);
  if (!model.quantized) fail("{} is not an .igq file: quantize a model first with `igq quantize`", flags.model.path);
  std::optional<LoadedDetector> original;
  if (!flags.float_model.empty()) original = load_detector(flags.float_model, flags.model.architecture);
  report::DetectorReportOptions options;
  options.file_bytes = std::filesystem::file_size(flags.model.path);
  options.speed = !flags.no_speed;
  options.noise_images = flags.noise_images;
  options.threads = flags.run.threads;
  options.isa = flags.run.parsed_isa();
  if (!flags.data_dir.empty()) {
    const ImageFolder folder = open_folder(flags.data_dir);
    const std::int64_t limit = flags.limit < 0 ? kDetectorPictures : flags.limit;
    for (const Sample& sample : limit > 0 ? choose_samples(folder, static_cast<int>(limit), 0) : folder.samples)
      options.pictures.push_back(sample.path);
  }
  report::DetectorReportData data;
  {
    std::unique_ptr<Progress> progress;
    data = report::collect_detector_report(model, original ? &*original : nullptr, options, stage_progress(progress));
  }
  if (!flags.output.empty()) write_page(flags, flags.output, report::detector_report_html(data), report::kReportOutput);
  write_page(flags, flags.card, report::model_card(data), report::kCardOutput);
  if (flags.run.json) print_json(report::detector_report_json(data));
}

void run_report(const ReportFlags& flags) {
  namespace fs = std::filesystem;
  if (flags.output.empty() && flags.card.empty() && !flags.run.json)
    throw CLI::ValidationError(
        "say where to write the report: -o report.html (or --json), or a card: --card README.md");
  check_output(flags.output, flags.overwrite, report::kReportOutput);
  check_output(flags.card, flags.overwrite, report::kCardOutput);
  if (names_detector(flags.model)) return report_detector(flags);
  if (!is_igq_file(flags.model.path))
    fail("{} is not an .igq file: quantize a model first with `igq quantize`", flags.model.path);
  const LoadedModel model = load_model(flags.model.path);
  flags.model.apply_preprocessing(*model.model);
  std::optional<LoadedModel> reference;
  if (!flags.float_model.empty()) {
    reference = flags.model.load(flags.float_model);
    reference->model->set_preprocess(model.model->config().preprocess);  // the same pixels for both
  }
  report::ReportOptions options;
  options.file_bytes = fs::file_size(flags.model.path);
  options.skip_bad_images = flags.skip_bad_images;
  options.speed = !flags.no_speed;
  options.noise_images = flags.noise_images;
  options.threads = flags.run.threads;
  options.isa = flags.run.parsed_isa();
  const bool encoder = model.model->config().num_classes == 0;
  if (encoder && flags.classes.order != "auto") fail("--class-order is for classifiers");
  if (encoder && flags.skip_bad_images) fail("--skip-bad-images is for classifiers");
  if (!flags.data_dir.empty()) add_images(flags, model.model->config(), options);
  report::ReportData data;
  {
    std::unique_ptr<Progress> progress;
    data = report::collect_report(model, reference ? &*reference : nullptr, options, stage_progress(progress));
  }
  if (!flags.output.empty()) write_page(flags, flags.output, report::report_html(data), report::kReportOutput);
  write_page(flags, flags.card, report::model_card(data), report::kCardOutput);
  if (flags.run.json) print_json(report::report_to_json(data));
}

}  // namespace

void add_report(CLI::App& app, int&) {
  auto* verb = app.add_subcommand(
      "report", "one self-contained HTML page about an .igq file: errors, groups, ranges, predictions");
  const auto flags = std::make_shared<ReportFlags>();
  flags->model.add_to(*verb);
  auto* data_dir = verb->add_option(
      "--data-dir", flags->data_dir,
      "folder of images: predictions and channel ranges come from them, and accuracy with class folders");
  flags->classes.add_to(*verb);
  verb->add_option("--float", flags->float_model,
                   "the float model it was made from: agreement, and errors measured on --data-dir")
      ->needs(data_dir);
  verb->add_option("-o,--output", flags->output, "the HTML file to write");
  verb->add_option("--card", flags->card, "a model card (Markdown) to write: results, commands, provenance; for a hub");
  verb->add_flag("--overwrite", flags->overwrite, "replace an existing output");
  verb->add_option("--limit", flags->limit,
                   "only so many images of --data-dir, spread over the classes (0: all; default: 500, of detectors 50)")
      ->check(CLI::Range(0, 1000000000));
  verb->add_option("--noise-images", flags->noise_images,
                   "images that measure the error of each site with --float (0: the errors stored in the file)")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  verb->add_flag("--no-speed", flags->no_speed, "do not time the model");
  verb->add_flag("--skip-bad-images", flags->skip_bad_images, "go on without images that cannot be read");
  flags->run.add_to(*verb, false);
  verb->callback([flags] { run_report(*flags); });
}

}  // namespace igq::cli
