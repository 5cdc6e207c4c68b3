// igq predict: the most likely classes of single images, or the objects in them.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "detect.h"
#include "base/fail.h"
#include "eval/evaluate.h"
#include "io/preprocess.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct PredictFlags {
  ModelFlags model;
  RunFlags run;
  std::vector<std::string> images;
  int topk = 5;
  std::optional<double> threshold;
  PredictDetectionsFlags detections;
};

void run_predict(const PredictFlags& flags) {
  if (names_detector(flags.model)) {
    PredictDetectionsFlags detections = flags.detections;
    if (flags.threshold) detections.threshold = static_cast<float>(*flags.threshold);
    return predict_detections(flags.model, flags.run, flags.images, detections);
  }
  if (flags.threshold || !flags.detections.draw.empty())
    fail("--score-threshold and --draw are for detectors; {} is a classifier", flags.model.path);
  LoadedModel loaded = flags.model.load();
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
  verb->add_option("IMAGE", flags->images, "image files: JPEG, PNG, WebP, TIFF, GIF, BMP")->required();
  verb->add_option("--topk", flags->topk, "classes printed per image")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option(
          "--score-threshold", flags->threshold,
          "detectors: objects with a higher score only (default: the checkpoint's own, 0.05 for mmdetection's,\n"
          "0.5 for those of transformers)")
      ->check(number_in(0.0, 1.0));
  verb->add_option("--draw", flags->detections.draw, "detectors: paint the objects on the picture, a PNG file");
  verb->add_flag("--overwrite", flags->detections.overwrite, "replace an existing file of --draw");
  flags->run.add_to(*verb);
  verb->callback([flags] { run_predict(*flags); });
}

}  // namespace igq::cli
