// igq predict: the most likely classes of single images.
#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "common.h"
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
};

void run_predict(const PredictFlags& flags) {
  LoadedModel loaded = flags.model.load();
  const ModelConfig& config = loaded.model->config();
  const Execution execution = flags.run.execution_for(loaded);
  loaded.prepare_only(execution, kernels::kernels_for(flags.run.parsed_isa()));
  Runner runner(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads);
  AlignedBuffer<float> image(static_cast<std::size_t>(loaded.model->image_floats()));
  nlohmann::json images = nlohmann::json::array();
  for (const std::string& file : flags.images) {
    preprocess_file(file, config.preprocess, config.image_height, config.image_width, image.data());
    const std::span<const float> logits = runner.run(image.data());
    const std::vector<double> p = softmax(logits);
    nlohmann::json predictions = nlohmann::json::array();
    if (!flags.run.json) std::cout << file << '\n';
    for (const int c : rank_classes(logits, flags.topk)) {
      const auto at = static_cast<std::size_t>(c);
      if (flags.run.json) {
        nlohmann::json entry = {{"class", c}, {"score", p[at]}, {"logit", logits[at]}};
        if (at < config.labels.size()) entry["label"] = config.labels[at];
        predictions.push_back(std::move(entry));
      } else {
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
  auto* verb = app.add_subcommand("predict", "the most likely classes of images");
  const auto flags = std::make_shared<PredictFlags>();
  flags->model.add_to(*verb);
  verb->add_option("IMAGE", flags->images, "JPEG or PNG files")->required();
  verb->add_option("--topk", flags->topk, "classes printed per image")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  flags->run.add_to(*verb);
  verb->callback([flags] { run_predict(*flags); });
}

}  // namespace igq::cli
