// igq predict: the most likely classes of single images, or the objects in them.
#include <fmt/format.h>

#include <cstring>
#include <iostream>
#include <memory>

#include "common.h"
#include "detect.h"
#include "base/fail.h"
#include "base/row_log.h"
#include "eval/bulk.h"
#include "images.h"
#include "eval/evaluate.h"
#include "io/preprocess.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct PredictFlags {
  ModelFlags model;
  RunFlags run;
  std::vector<std::string> images;
  std::string output;
  int topk = 5;
  bool resume = false;
  std::optional<double> threshold;
  PredictDetectionsFlags detections;
};

/// One of the classes kept of an image, as it lies in the rows of a run.
struct Ranked {
  std::int32_t index = -1;
  float logit = 0.0f;
  double score = 0.0;
};

const OutputKind kPredictionsCsv{"a table of predictions",
                                 [](const InputFile& file) { return file.begins_with("file,error,class_1,"); }};

void write_predictions(const PredictFlags& flags, const ImageList& images, const ModelConfig& config, std::size_t topk,
                       const RowLog& log) {
  OutputFile out(flags.output, true, &kPredictionsCsv);
  std::string line = "file,error";
  for (const char* column : {"class", "label", "score"})
    for (std::size_t k = 1; k <= topk; ++k) line += fmt::format(",{}_{}", column, k);
  out.write(line + "\n");
  std::vector<Ranked> ranked(topk);
  std::size_t at = 0;
  log.for_each([&](std::span<const std::byte> row, const std::string& fault) {
    line = csv_field(images.names[at++]) + "," + csv_field(printable(fault));
    std::memcpy(ranked.data(), row.data(), row.size());
    const bool good = fault.empty();
    for (const Ranked& r : ranked) line += good ? fmt::format(",{}", r.index) : ",";
    for (const Ranked& r : ranked) line += good ? "," + csv_field(class_name(config, r.index)) : ",";
    for (const Ranked& r : ranked) line += good ? fmt::format(",{:.6g}", r.score) : ",";
    out.write(line + "\n");
  });
  out.commit();
}

/// Predictions of a folder, a list or many images as a table that goes on where a run was killed.
void predict_table(const PredictFlags& flags) {
  if (!flags.output.ends_with(".csv")) fail("{}: predictions are written as .csv", flags.output);
  if (!begin_rows(flags.output, flags.resume, flags.detections.overwrite)) return;
  check_output(flags.output, flags.detections.overwrite || flags.resume, kPredictionsCsv);
  LoadedModel loaded = flags.model.load();
  require_classes(loaded, "predict");
  const ModelConfig& config = loaded.model->config();
  const ImageList images = list_inputs(flags.images);
  const Execution execution = flags.run.execution_for(loaded);
  const auto topk = static_cast<std::size_t>(std::min(flags.topk, config.num_classes));
  const std::string key =
      run_key(loaded, flags.model, images, fmt::format("predict {} top {}", execution_name(execution), topk));
  loaded.prepare_only(execution, kernels::kernels_for(flags.run.parsed_isa()));
  Runner runner(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads);
  note_threads(flags.run.threads, runner.threads());
  const auto total = static_cast<std::int64_t>(images.files.size());
  RowLog log(rows_path(flags.output), key, topk * sizeof(Ranked));
  const std::int64_t before = log.rows();
  if (before > 0) note(fmt::format("igq: going on after {} of {} images", before, total));
  {
    Progress progress("predicting", total, before);
    run_bulk(
        runner, images.files, topk * sizeof(Ranked),
        [&](std::span<const float> logits, std::span<std::byte> row) {
          const std::vector<double> scores = class_scores(logits, config.scores);
          std::size_t at = 0;
          for (const int c : rank_classes(logits, static_cast<int>(topk))) {
            const auto i = static_cast<std::size_t>(c);
            const Ranked ranked{c, logits[i], scores[i]};
            std::memcpy(row.data() + at, &ranked, sizeof ranked);
            at += sizeof ranked;
          }
        },
        log, progress.callback());
  }
  const std::int64_t bad = log.faults();
  write_predictions(flags, images, config, topk, log);
  log.remove();
  if (flags.run.json) {
    nlohmann::json document = {{"model", loaded.name},   {"execution", execution_name(execution)},
                               {"output", flags.output}, {"images", total},
                               {"bad_images", bad},      {"resumed_after", before}};
    document.update(machine_json(runner.isa(), runner.threads()));
    print_json(document);
  } else {
    std::cout << fmt::format("{}: {} images\n", flags.output, total);
  }
  if (bad > 0) closing_note() = fmt::format("{} of {} images cannot be read; the column error says why", bad, total);
}

void run_predict(const PredictFlags& flags) {
  if (names_detector(flags.model)) {
    PredictDetectionsFlags detections = flags.detections;
    if (flags.threshold) detections.threshold = static_cast<float>(*flags.threshold);
    if (!flags.output.empty()) fail("-o writes tables of classes; {} is a detector", flags.model.path);
    return predict_detections(flags.model, flags.run, flags.images, detections);
  }
  if (flags.threshold || !flags.detections.draw.empty())
    fail("--score-threshold and --draw are for detectors; {} is a classifier", flags.model.path);
  if (!flags.output.empty()) return predict_table(flags);
  if (flags.resume) throw CLI::ValidationError("--resume has no effect without -o");
  LoadedModel loaded = flags.model.load();
  require_classes(loaded, "predict");
  const ModelConfig& config = loaded.model->config();
  const Execution execution = flags.run.execution_for(loaded);
  loaded.prepare_only(execution, kernels::kernels_for(flags.run.parsed_isa()));
  Runner runner(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads);
  note_threads(flags.run.threads, runner.threads());
  AlignedBuffer<float> image(static_cast<std::size_t>(loaded.model->image_floats()));
  nlohmann::json images = nlohmann::json::array();
  for (const std::string& file : flags.images) {
    preprocess_file(file, config.preprocess, config.image_height, config.image_width, image.data());
    const std::span<const float> logits = runner.run(image.data());
    const std::vector<double> p = class_scores(logits, config.scores);
    nlohmann::json predictions = nlohmann::json::array();
    if (!flags.run.json) std::cout << printable(file) << '\n';
    for (const int c : rank_classes(logits, flags.topk)) {
      const auto at = static_cast<std::size_t>(c);
      if (flags.run.json) {
        nlohmann::json entry = {{"class", c}, {"score", p[at]}, {"logit", logits[at]}};
        if (at < config.labels.size()) entry["label"] = config.labels[at];
        predictions.push_back(std::move(entry));
      } else {
        if (config.scores == Scores::kNone)
          std::cout << fmt::format("  {:10.5g}  {}\n", p[at], class_name(config, c));
        else
          std::cout << fmt::format("  {:6.2f} %  {}\n", 100.0 * p[at], class_name(config, c));
      }
    }
    images.push_back({{"file", file}, {"predictions", std::move(predictions)}});
  }
  if (!flags.run.json) return;
  nlohmann::json document = {
      {"model", loaded.name}, {"execution", execution_name(execution)}, {"images", std::move(images)}};
  document.update(machine_json(runner.isa(), runner.threads()));
  print_json(document);
}

}  // namespace

void add_predict(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("predict", "the most likely classes of images, or the objects in them");
  const auto flags = std::make_shared<PredictFlags>();
  flags->model.add_to(*verb);
  verb->add_option("IMAGE", flags->images,
                   "image files: JPEG, PNG, WebP, TIFF, GIF, BMP; with -o a folder or a .txt file of paths too")
      ->required();
  verb->add_option("--topk", flags->topk, "classes printed per image")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option(
          "--score-threshold", flags->threshold,
          "detectors: objects with a higher score only (default: the checkpoint's own, 0.05 for mmdetection's,\n"
          "0.5 for those of transformers)")
      ->check(number_in(0.0, 1.0));
  verb->add_option("--draw", flags->detections.draw, "detectors: paint the objects on the picture, a PNG file");
  verb->add_flag("--overwrite", flags->detections.overwrite, "replace an existing file of --draw or -o");
  verb->add_option("-o,--output", flags->output,
                   "write a .csv table: file, error, classes, labels, scores; an image that cannot be read is a "
                   "row\nthat says why; finished rows are kept in OUTPUT.rows until it is written");
  verb->add_flag("--resume", flags->resume, "go on with a run of -o that was interrupted: the same rows, none twice");
  flags->run.add_to(*verb);
  verb->callback([flags] { run_predict(*flags); });
}

}  // namespace igq::cli
