// igq compare: where a second model loses precision against a first, and which predictions it changes.
#include "eval/compare.h"
#include "eval/evaluate.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "common.h"
#include "detect.h"
#include "detector_verbs.h"
#include "eval/neighbours.h"
#include "folders.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct CompareFlags {
  ModelFlags model;
  RunFlags run;
  std::string other, data_dir;
  std::int64_t limit = 0;
  int alone_images = 8;
  ClassFlags classes;
};

nlohmann::json flips_json(const Comparison& c, const std::vector<Sample>& samples) {
  nlohmann::json flips = nlohmann::json::array();
  for (const Flip& f : c.flips) {
    const Sample& sample = samples[static_cast<std::size_t>(f.image)];
    flips.push_back({{"file", sample.relative}, {"label", sample.label}, {"a", f.reference}, {"b", f.test}});
  }
  return flips;
}

void run_compare(const CompareFlags& flags) {
  if (names_detector(flags.model))
    return compare_detectors(flags.model, flags.run, {flags.other, flags.data_dir, flags.limit, flags.alone_images});
  LoadedModel a = flags.model.load();
  LoadedModel b = is_igq_file(flags.other) ? load_model(flags.other) : flags.model.load(flags.other);
  b.model->set_preprocess(a.model->config().preprocess);  // the same pixels for both
  const ModelConfig& config = a.model->config();
  ImageFolder folder = open_folder(flags.data_dir);
  const bool encoder = config.num_classes == 0;
  const bool labelled = !encoder && !folder.classes.empty() && flags.classes.try_label(folder, config);
  const std::vector<Sample> samples =
      flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;

  CompareOptions options;
  options.reference = a.quantized ? Execution::kInteger : Execution::kFloat;
  options.test = flags.run.execution_for(b);
  options.alone_images = flags.alone_images;
  options.leave_out_qkv = is_balanced(a) || is_balanced(b);
  std::unique_ptr<Model> hybrid;
  if (b.quantized && !a.quantized) hybrid = with_float_weights(b, a.tensors);
  options.alone = hybrid != nullptr && flags.alone_images > 0;
  ThreadPool pool(flags.run.threads);
  note_threads(flags.run.threads, pool.size());
  Comparison result;
  {
    Progress progress("comparing", static_cast<std::int64_t>(samples.size()));
    result =
        compare_models(*a.model, hybrid != nullptr ? *hybrid : *b.model, options, flags.run.parsed_isa(), pool,
                       static_cast<std::int64_t>(samples.size()), load_samples(config, samples), progress.callback());
  }
  std::int64_t right_a = 0, right_b = 0;
  for (std::size_t i = 0; i < samples.size() && !encoder; ++i) {
    right_a += result.reference_classes[i] == samples[i].label;
    right_b += result.test_classes[i] == samples[i].label;
  }
  const auto n = static_cast<double>(result.images);
  const CosineSummary cosines = summarize(result.cosines);
  NeighbourRecall recall;
  if (encoder)
    recall = neighbour_recall(result.reference_vectors, result.test_vectors,
                              static_cast<std::size_t>(embedding_width(config)));
  const double agreement = 100.0 * static_cast<double>(result.agreements) / n;
  if (flags.run.json) {
    nlohmann::json sites = nlohmann::json::array();
    for (const SiteNoise& s : result.sites) {
      nlohmann::json entry = {{"site", s.site}, {"snr_accumulated_db", s.accumulated}};
      entry["snr_alone_db"] = s.alone ? nlohmann::json(*s.alone) : nlohmann::json();
      sites.push_back(std::move(entry));
    }
    nlohmann::json document = {{"a", a.name},
                               {"b", b.name},
                               {"images", result.images},
                               {"logits_snr_db", result.logits_snr},
                               {"sites", std::move(sites)}};
    if (encoder) {
      document["cosine_mean"] = cosines.mean;
      document["cosine_percentile_1"] = cosines.percentile1;
      document["recall_at_1"] = recall.at1;
      document["recall_at_10"] = recall.at10;
    } else {
      document["agreement"] = agreement;
      document["flips"] = flips_json(result, samples);
    }
    if (labelled) {
      document["top1_a"] = 100.0 * static_cast<double>(right_a) / n;
      document["top1_b"] = 100.0 * static_cast<double>(right_b) / n;
    }
    document.update(machine_json(flags.run.parsed_isa(), pool.size()));
    print_json(document);
    return;
  }
  Table table({"site", "alone dB", "accumulated dB"});
  for (const SiteNoise& s : result.sites)
    table.add({s.site, s.alone ? fmt::format("{:.1f}", *s.alone) : "-", fmt::format("{:.1f}", s.accumulated)});
  std::cout << table.text();
  if (!options.alone) std::cout << "(errors of single sites need a float model as A and an .igq file as B)\n";
  if (options.leave_out_qkv)
    std::cout << "(qkv layers are left out: balanced, their outputs differ by design while the scores stay the same)\n";
  if (encoder) {
    std::cout << fmt::format(
        "\n{} images: cosine {:.5f} in the mean, {:.5f} at the 1st percentile, {:.1f} dB\n"
        "nearest neighbours among them: recall@1 {:.4f}, recall@10 {:.4f}\n",
        result.images, cosines.mean, cosines.percentile1, result.logits_snr, recall.at1, recall.at10);
    return;
  }
  std::cout << fmt::format("\n{} images: same prediction on {:.2f} %, logits {:.1f} dB", result.images, agreement,
                           result.logits_snr);
  if (labelled)
    std::cout << fmt::format(", top-1 {:.2f} % and {:.2f} %", 100.0 * static_cast<double>(right_a) / n,
                             100.0 * static_cast<double>(right_b) / n);
  std::cout << fmt::format("\n{} flips\n", result.flips.size());
  for (const Flip& f : result.flips)
    std::cout << fmt::format("  {}: {} -> {}\n", printable(samples[static_cast<std::size_t>(f.image)].relative),
                             class_name(config, f.reference), class_name(config, f.test));
}

}  // namespace

void add_compare(CLI::App& app, int&) {
  auto* verb = app.add_subcommand(
      "compare", "where model B loses precision against model A, and which predictions or neighbours change");
  const auto flags = std::make_shared<CompareFlags>();
  flags->model.add_to(*verb);
  verb->add_option("B", flags->other, "the second model: usually the .igq file made from the first")->required();
  verb->add_option("--data-dir", flags->data_dir, "folder of images; with class folders accuracies are printed too")
      ->required();
  flags->classes.add_to(*verb);
  verb->add_option("--limit", flags->limit, "only so many images, spread over the classes")->check(count_from_one());
  verb->add_option("--alone-images", flags->alone_images, "images for the error of each site alone (0: leave it out)")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  flags->run.add_to(*verb);
  verb->callback([flags] { run_compare(*flags); });
}

}  // namespace igq::cli
