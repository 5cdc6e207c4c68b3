// igq eval: top-1 and top-5 of a model on a folder of labelled images, or COCO's metric of detections.
#include "base/fail.h"
#include "eval/evaluate.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "eval/benchmark.h"
#include "detect.h"
#include "eval_coco.h"
#include "eval_detector.h"
#include "folders.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct EvalFlags {
  ModelFlags model;
  RunFlags run;
  CocoFlags coco;
  std::string data_dir, images, results_file;
  std::int64_t limit = 0;
  int batch = 0;
  EvalOptions options;
  bool overwrite = false;
  ClassFlags classes;
};

void run_eval(const EvalFlags& flags) {
  check_output(flags.results_file, flags.overwrite, kResultsOutput);
  LoadedModel loaded = flags.model.load();
  require_classes(loaded, "eval");
  const ModelConfig& config = loaded.model->config();
  ImageFolder folder = open_folder(flags.data_dir);
  flags.classes.label(folder, config);
  std::vector<Sample> samples =
      flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;
  const Execution execution = flags.run.execution_for(loaded);
  loaded.prepare_only(execution, kernels::kernels_for(flags.run.parsed_isa()));
  Runner runner(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads);
  note_threads(flags.run.threads, runner.threads());
  EvalResult result;
  {
    Progress progress("evaluating", static_cast<std::int64_t>(samples.size()));
    result = evaluate(runner, samples, flags.options, progress.callback());
  }
  if (!flags.results_file.empty()) write_results_csv(flags.results_file, result.results, flags.overwrite);
  const double interval = confidence_95(result.top1, result.images);
  if (flags.run.json) {
    nlohmann::json bad = nlohmann::json::array();
    for (const BadImage& b : result.bad_images) bad.push_back({{"file", b.file}, {"error", b.error}});
    nlohmann::json document = {{"model", loaded.name},
                               {"architecture", config.architecture},
                               {"execution", execution_name(execution)},
                               {"images", result.images},
                               {"top1", result.top1},
                               {"top1_interval_95", interval},
                               {"top5", result.top5},
                               {"images_per_s", result.images_per_s},
                               {"seconds", result.seconds},
                               {"peak_rss_mb", peak_rss_mb()},
                               {"bad_images", bad}};
    document.update(folder_json(folder));
    document.update(machine_json(runner.isa(), runner.threads()));
    print_json(document);
    return;
  }
  std::cout << fmt::format(
      "{} ({}, {}): {} images, top-1 {:.2f} % (95 % interval +-{:.2f}), top-5 {:.2f} %, {:.1f} images/s\n",
      printable(loaded.name), printable(config.architecture), execution_name(execution), result.images, result.top1,
      interval, result.top5, result.images_per_s);
  for (const BadImage& b : result.bad_images) std::cout << "skipped: " << printable(b.error) << '\n';
}

/// Runs what the flags ask for; a usage error when they ask for nothing or for two things.
void run_any_eval(const EvalFlags& flags) {
  const bool model = !flags.model.path.empty() || !flags.model.architecture.empty();
  if (!flags.coco.given()) {
    if (!model) throw CLI::RequiredError("MODEL");
    if (names_detector(flags.model))
      fail("{} is a detector: score it with --coco annotations.json --images FOLDER", flags.model.path);
    if (flags.data_dir.empty()) throw CLI::RequiredError("--data-dir");
    run_eval(flags);
    return;
  }
  if (flags.coco.annotations.empty()) throw CLI::RequiredError("--coco");
  if (model && flags.coco.detections.empty()) {
    if (flags.images.empty()) throw CLI::RequiredError("--images");
    if (!flags.data_dir.empty()) throw CLI::ExcludesError("--coco", "--data-dir");
    if (!names_detector(flags.model)) fail("{} is no detector: --coco scores detectors", flags.model.path);
    return eval_detector(
        flags.model, flags.run, flags.coco,
        {flags.images, flags.results_file, flags.limit, flags.options.skip_bad_images, flags.overwrite});
  }
  if (flags.coco.detections.empty()) throw CLI::RequiredError("MODEL or --detections");
  if (model) throw CLI::ValidationError("--detections", "scores a result file and takes no MODEL");
  eval_detections(flags.coco, flags.run.json);
}

}  // namespace

void add_eval(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("eval", "accuracy of a model on labelled images, or COCO's metric of detections");
  const auto flags = std::make_shared<EvalFlags>();
  flags->model.add_to(*verb, false);
  flags->coco.add_to(*verb);
  verb->add_option("--data-dir", flags->data_dir,
                   "folder with one folder per class, named after the model's labels or 0, 1, ...; without labels as "
                   "many folders\n"
                   "as classes, in alphabetical order (see --class-order)");
  flags->classes.add_to(*verb);
  verb->add_option("--images", flags->images,
                   "with --coco and a detector as MODEL: the folder of the annotated images");
  verb->add_option("--limit", flags->limit,
                   "only so many images, spread over the classes (with --coco: the first by id)")
      ->check(count_from_one());
  verb->add_option("--topk", flags->options.topk, "predictions kept per image for --results-file")
      ->check(CLI::Range(5, 100000))
      ->capture_default_str();
  verb->add_option("-b,--batch-size", flags->batch,
                   "accepted as in timm; images are always run one by one per thread, results do not depend on it")
      ->check(count_from_one());
  verb->add_option("--results-file", flags->results_file,
                   "write a row per image: file, label, predicted classes, scores (CSV); with --coco the detections "
                   "as\nCOCO's result file");
  verb->add_flag("--skip-bad-images", flags->options.skip_bad_images,
                 "go on without images that cannot be read, and list them");
  verb->add_flag("--overwrite", flags->overwrite, "replace an existing --results-file");
  flags->run.add_to(*verb);
  for (const char* of_models :
       {"--data-dir", "--images", "--limit", "--topk", "--batch-size", "--results-file", "--skip-bad-images"})
    verb->get_option("--detections")->excludes(verb->get_option(of_models));
  verb->callback([flags] { run_any_eval(*flags); });
}

}  // namespace igq::cli
