// igq quantize: checkpoint and calibration images -> .igq file.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/fail.h"
#include "common.h"
#include "io/igq_container.h"
#include "eval/benchmark.h"
#include "eval/evaluate.h"
#include "pipeline/quantize_model.h"
#include "quantize_flags.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct QuantizeVerb {
  ModelFlags model;
  RunFlags run;
  QuantizeFlags quantize;
  std::string calibration_dir, output, data_dir;
  int samples = 32;
  int noise_images = 4;
  double max_drop = -1.0;
  std::int64_t limit = 0;
  bool overwrite = false;
};

std::uint64_t float_bytes(const Model& model) {
  std::uint64_t count = 0;
  for (const auto& [name, shape] : expected_tensors(model.config())) {
    std::uint64_t n = 1;
    for (const std::int64_t d : shape) n *= static_cast<std::uint64_t>(d);
    count += n;
  }
  return count * sizeof(float);
}

/// Site, bits, groups and errors.
Table site_table(const QuantizeReport& report, const Model& model) {
  Table table({"site", "weights", "activations", "grouping", "groups", "alone dB", "accumulated dB"});
  for (std::size_t i = 0; i < model.sites().size(); ++i) {
    const Site& site = model.sites()[i];
    std::string weight_bits = "-", bits = "float", grouping = "-", groups = "-", alone = "-", accumulated = "-";
    const ActivationPlan* activation = nullptr;
    if (site.linear != nullptr && site.linear->plan() != nullptr) {
      weight_bits = fmt::format("{}", site.linear->plan()->weight.bits);
      activation = &site.linear->plan()->input;
    } else if (site.attention != nullptr && site.attention->plan() != nullptr) {
      activation = &site.attention->plan()->softmax;
    }
    if (activation != nullptr && activation->grouping != Grouping::kFloat) {
      bits = fmt::format("{}", activation->bits);
      grouping = grouping_name(activation->grouping);
      groups = activation->groups.empty() ? "each" : fmt::format("{}", activation->groups.size());
    }
    if (i < report.noise.sites.size()) {
      const SiteNoise& noise = report.noise.sites[i];
      if (noise.alone) alone = fmt::format("{:.1f}", *noise.alone);
      accumulated = fmt::format("{:.1f}", noise.accumulated);
    }
    table.add({site.name, weight_bits, bits, grouping, groups, alone, accumulated});
  }
  return table;
}

std::string reconstruction_text(const Reconstruction& r) {
  const auto kept =
      std::count_if(r.blocks.begin(), r.blocks.end(), [](const BlockReconstruction& b) { return b.kept; });
  return fmt::format("reconstruction: {} of {} blocks improved on images held out{}\n", kept, r.blocks.size(),
                     r.out_of_time ? ", stopped by --reconstruct-minutes" : "");
}

/// Top-1 of the float model and of the saved file on the same images.
struct Gate {
  double float_top1 = 0.0, top1 = 0.0;
  std::int64_t images = 0;
};

Gate measure_drop(const QuantizeVerb& flags, LoadedModel& float_model) {
  restore_float(float_model);
  const ModelConfig& config = float_model.model->config();
  ImageFolder folder = list_images(flags.data_dir);
  map_labels(folder, config.labels, config.num_classes);
  const auto samples = flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;
  auto top1 = [&](Model& model, Execution execution, const char* what) {
    Runner runner(model, execution, flags.run.parsed_isa(), flags.run.threads);
    Progress progress(what, static_cast<std::int64_t>(samples.size()));
    return evaluate(runner, samples, {}, progress.callback());
  };
  Gate gate;
  const EvalResult before = top1(*float_model.model, Execution::kFloat, "evaluating float");
  LoadedModel saved = load_model(flags.output);
  const EvalResult after = top1(*saved.model, Execution::kInteger, "evaluating integer");
  gate.float_top1 = before.top1;
  gate.top1 = after.top1;
  gate.images = after.images;
  return gate;
}

void run_quantize(const QuantizeVerb& flags, int& exit_code) {
  namespace fs = std::filesystem;
  if (flags.max_drop >= 0.0 && flags.data_dir.empty())
    throw CLI::ValidationError("--max-drop needs labelled images: add --data-dir DIR");
  check_output(flags.output, flags.overwrite, kIgqOutput);
  LoadedModel loaded = flags.model.load();
  flags.quantize.check_sites(*loaded.model);
  const ImageFolder folder = list_images(flags.calibration_dir);
  const QuantizeJob job = flags.quantize.job();
  const std::vector<Sample> samples = choose_samples(folder, flags.samples, job.options.seed);
  if (static_cast<int>(samples.size()) < flags.samples)
    note(fmt::format("igq: {} holds only {} images; all of them are used for calibration", flags.calibration_dir,
                     samples.size()));
  const CalibrationSet images = calibration_from_files(*loaded.model, samples);
  QuantizeReport report;
  {
    std::unique_ptr<Progress> progress;
    report = quantize_model(loaded, images, job, flags.run.parsed_isa(), flags.run.threads, flags.noise_images,
                            stage_progress(progress));
  }
  save_igq(flags.output, report.model, flags.overwrite);
  const std::string table = site_table(report, *loaded.model).text();  // measure_drop takes the plan off the model

  const auto file_bytes = static_cast<double>(fs::file_size(flags.output));
  const auto before = static_cast<double>(float_bytes(*loaded.model));
  Gate gate;
  if (!flags.data_dir.empty()) {
    gate = measure_drop(flags, loaded);
    if (flags.max_drop >= 0.0 && gate.float_top1 - gate.top1 > flags.max_drop) exit_code = kGateNotMet;
  }
  if (flags.run.json) {
    nlohmann::json document = {{"model", loaded.name},
                               {"output", flags.output},
                               {"settings", report.model.provenance.settings},
                               {"calibration_images", images.count},
                               {"calibration_memory_mb", static_cast<double>(report.calibration_bytes) / 1e6},
                               {"peak_rss_mb", peak_rss_mb()},
                               {"file_mb", file_bytes / 1e6},
                               {"float_mb", before / 1e6},
                               {"report", report.model.report}};
    if (!flags.data_dir.empty()) {
      document["top1_float"] = gate.float_top1;
      document["top1"] = gate.top1;
      document["images"] = gate.images;
    }
    print_json(document);
  } else {
    std::cout << table;
    std::cout << fmt::format("\n{}: {} from {} in float ({:.1f}x smaller), {} calibration images{}\n", flags.output,
                             megabytes(file_bytes), megabytes(before), before / file_bytes, images.count,
                             report.noise.images > 0 ? fmt::format(", logits {:.1f} dB", report.noise.logits_snr) : "");
    if (report.reconstruction) std::cout << reconstruction_text(*report.reconstruction);
    std::cout << fmt::format("memory: statistics {}, peak {:.0f} MB\n",
                             megabytes(static_cast<double>(report.calibration_bytes)), peak_rss_mb());
    if (!flags.data_dir.empty())
      std::cout << fmt::format("top-1 on {} images: float {:.2f} %, quantized {:.2f} %\n", gate.images, gate.float_top1,
                               gate.top1);
  }
  if (exit_code == kGateNotMet)
    note(fmt::format("igq: top-1 fell by {:.2f} points, more than --max-drop {}", gate.float_top1 - gate.top1,
                     flags.max_drop));
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  auto* verb = app.add_subcommand("quantize", "make a small quantized model (.igq) from a checkpoint and a few images");
  const auto flags = std::make_shared<QuantizeVerb>();
  flags->model.add_to(*verb);
  verb->add_option("--calib", flags->calibration_dir, "folder of calibration images (labels are not needed)")
      ->required();
  verb->add_option("--samples", flags->samples, "calibration images taken from the folder, spread over its classes")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb->add_option("-o,--output", flags->output, "the .igq file to write")->required();
  verb->add_flag("--overwrite", flags->overwrite, "replace an existing output");
  flags->quantize.add_to(*verb);
  verb->add_option("--noise-images", flags->noise_images,
                   "calibration images that measure the error of each site for the table (0: none)")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  verb->add_option("--data-dir", flags->data_dir, "labelled test images: top-1 before and after is printed");
  verb->add_option("--max-drop", flags->max_drop,
                   "exit with code 3 when top-1 on --data-dir falls by more points than this")
      ->check(number_in(0.0, 100.0));
  verb->add_option("--limit", flags->limit, "only so many images of --data-dir")->check(count_from_one());
  flags->run.add_to(*verb, false);
  verb->callback([flags, &exit_code] { run_quantize(*flags, exit_code); });
}

}  // namespace igq::cli
