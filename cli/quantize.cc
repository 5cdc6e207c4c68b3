// igq quantize: checkpoint and calibration images -> .igq file.
#include <fmt/format.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "allocation_lines.h"
#include "base/fail.h"
#include "common.h"
#include "io/igq_container.h"
#include "eval/benchmark.h"
#include "eval/evaluate.h"
#include "eval/neighbours.h"
#include "pipeline/calibration_state.h"
#include "pipeline/groups_in_use.h"
#include "pipeline/quantize_detector.h"
#include "pipeline/quantize_model.h"
#include "detect.h"
#include "dry_run.h"
#include "folders.h"
#include "quantize_detector.h"
#include "quantize_flags.h"
#include "recipe.h"
#include "speed.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct QuantizeVerb {
  ModelFlags model;
  RunFlags run;
  QuantizeFlags quantize;
  std::string calibration_dir, output, data_dir;
  int samples = 32;
  int held_back = -1;
  int noise_images = 4;
  double max_drop = -1.0;
  SpeedGate speed;
  std::int64_t limit = 0;
  bool overwrite = false, dry_run = false;
  std::string recipe, from, write_recipe;
  std::string scope;
  ClassFlags classes;
};

/// Some passes of the model just made, in float and in integers in turn; nothing where nothing is to be measured.
std::optional<SpeedOnThisMachine> measure_speed(const QuantizeVerb& flags, LoadedModel& loaded) {
  if (flags.noise_images == 0 && !flags.speed.wanted()) return std::nullopt;
  const Isa isa = flags.run.parsed_isa();
  Runner original(*loaded.model, Execution::kFloat, isa, flags.run.threads),
      integer(*loaded.model, Execution::kInteger, isa, flags.run.threads);
  Runner* const both[] = {&original, &integer};
  const std::vector<Latency> latency = measure_latencies(both, quick_benchmark());
  return SpeedOnThisMachine{latency[0].median_ms / latency[1].median_ms, integer.threads()};
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
      groups = activation->groups.empty() ? "each" : fmt::format("{}", groups_in_use(*activation));
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

/// What --max-drop is held against without --data-dir: percent of predictions that changed; of an encoder 100 (1 - mean
/// cosine).
double drop_of(const Verdict& verdict) {
  return verdict.cosines ? 100.0 * (1.0 - verdict.cosines->mean) : 100.0 - verdict.agreement;
}

/// The float model and the saved file on the same images: their top-1, or how an encoder's vectors differ.
struct Gate {
  double float_top1 = 0.0, top1 = 0.0;
  std::int64_t images = 0;
  // Of an encoder: cosines to float, and neighbours that both find.
  CosineSummary cosines;
  NeighbourRecall recall;
  bool encoder = false;
  /// Points, what --max-drop is held against.
  double drop() const { return encoder ? 100.0 * (1.0 - recall.at1) : float_top1 - top1; }
};

Gate measure_drop(const QuantizeVerb& flags, LoadedModel& float_model) {
  restore_float(float_model);
  const ModelConfig& config = float_model.model->config();
  ImageFolder folder = open_folder(flags.data_dir);
  if (config.num_classes > 0) flags.classes.label(folder, config);
  const auto samples = flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;
  auto top1 = [&](Model& model, Execution execution, const char* what) {
    Runner runner(model, execution, flags.run.parsed_isa(), flags.run.threads);
    Progress progress(what, static_cast<std::int64_t>(samples.size()));
    return evaluate(runner, samples, {}, progress.callback());
  };
  Gate gate;
  if (config.num_classes == 0) {
    LoadedModel saved = load_model(flags.output);
    saved.model->set_preprocess(config.preprocess);
    CompareOptions options;
    options.alone = false;
    ThreadPool pool(flags.run.threads);
    Progress progress("comparing vectors", static_cast<std::int64_t>(samples.size()));
    const Comparison all =
        compare_models(*float_model.model, *saved.model, options, flags.run.parsed_isa(), pool,
                       static_cast<std::int64_t>(samples.size()), load_samples(config, samples), progress.callback());
    gate.encoder = true;
    gate.images = all.images;
    gate.cosines = summarize(all.cosines);
    gate.recall =
        neighbour_recall(all.reference_vectors, all.test_vectors, static_cast<std::size_t>(embedding_width(config)));
    return gate;
  }
  const EvalResult before = top1(*float_model.model, Execution::kFloat, "evaluating float");
  LoadedModel saved = load_model(flags.output);
  const EvalResult after = top1(*saved.model, Execution::kInteger, "evaluating integer");
  gate.float_top1 = before.top1;
  gate.top1 = after.top1;
  gate.images = after.images;
  return gate;
}

/// Says where the images are fewer than asked for, and which of them the verdict is on.
void note_split(const QuantizeVerb& flags, const CalibrationSplit& split) {
  const std::size_t used = split.calibration.size(), held = split.held_back.size();
  if (static_cast<int>(used) < flags.samples && held > 0)
    note(fmt::format(
        "igq: {} holds only {} images: {} calibrate, {} are held back for the verdict (--held-back 0: none)",
        flags.calibration_dir, used + held, used, held));
  else if (static_cast<int>(used) < flags.samples)
    note(fmt::format("igq: {} holds only {} image{}; all of them are used for calibration", flags.calibration_dir, used,
                     used == 1 ? "" : "s"));
  if (held == 0 && flags.noise_images > 0)
    note(
        "igq: no images are held back: the verdict is on images that the model was calibrated with, which flatters it");
}

/// Says where what was made from another file's settings cannot have that file's bytes.
void note_other_images(const std::string& from, const Provenance& made) {
  const Provenance before = read_provenance(from);
  if (before.calibration_checksum != made.calibration_checksum)
    note(fmt::format("igq: calibrated on other images than {}, which had {}: the result is another one", from,
                     before.calibration_images));
  if (before.source_checksum != made.source_checksum)
    note(fmt::format("igq: the model has other weights than {} was made from ({})", from, before.source));
}

/// The time of a pass is that of the first calibration image.
void dry_run(Model& model, const CalibrationSplit& split, const QuantizeJob& job, const QuantizeVerb& flags) {
  const CalibrationSet first = calibration_from_files(model, {split.calibration.front()});
  std::vector<float> image(static_cast<std::size_t>(model.image_floats()));
  first.load(0, image.data());
  Runner runner(model, Execution::kFloat, flags.run.parsed_isa(), flags.run.threads);
  DryRun dry;
  dry.shapes = site_shapes(model.config());
  dry.float_values = count_parameters(model.config());
  dry.settings = job_text(job);
  dry.work.images = static_cast<std::int64_t>(split.calibration.size());
  dry.work.judged = split.held_back.empty() ? flags.noise_images : static_cast<std::int64_t>(split.held_back.size());
  dry.work.pass_seconds = timed_pass([&] { runner.run(image.data()); });
  if (job.allocate) dry.work.trials = trial_passes(dry.work.images, dry.shapes, job.options, perturbation_options(job));
  print_dry_run(dry, job, job.options, flags.run.json);
}

void run_quantize(const QuantizeVerb& flags, const CLI::App& verb, int& exit_code) {
  namespace fs = std::filesystem;
  if (flags.max_drop >= 0.0 && flags.data_dir.empty() && flags.noise_images == 0)
    throw CLI::ValidationError("--max-drop has nothing to go by: add --data-dir DIR, or leave out --noise-images 0");
  if (names_detector(flags.model)) {
    if (!flags.data_dir.empty()) fail("--data-dir is for classifiers; score a detector with igq eval --coco");
    if (flags.from.empty()) flags.quantize.check_effects();  // a file names every setting, needed or not
    check_output(flags.write_recipe, flags.overwrite, kRecipeOutput);
    quantize_detector(
        flags.model, flags.run, flags.quantize,
        {flags.calibration_dir, flags.output, flags.scope.empty() ? "all" : flags.scope, flags.samples, flags.held_back,
         flags.noise_images, flags.max_drop, flags.overwrite, flags.dry_run, flags.speed},
        exit_code);
    if (!flags.write_recipe.empty())
      write_file(flags.write_recipe, recipe_json(verb).dump(1) + '\n', flags.overwrite, &kRecipeOutput);
    return;
  }
  if (!flags.scope.empty()) fail("--scope is for detectors; {} is none", flags.model.path);
  if (flags.from.empty()) flags.quantize.check_effects();  // a file names every setting, needed or not
  if (flags.data_dir.empty() && flags.limit > 0) throw CLI::ValidationError("--limit has no effect without --data-dir");
  if (!flags.dry_run) check_output(flags.output, flags.overwrite, kIgqOutput);
  check_output(flags.write_recipe, flags.overwrite, kRecipeOutput);
  const auto start = std::chrono::steady_clock::now();
#ifdef __GLIBC__
  // Buffers of many sizes come and go, layer by layer: in the heap they would leave holes that are never given back.
  mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
  LoadedModel loaded = flags.model.load();
  flags.quantize.check_sites(*loaded.model);
  const ImageFolder folder = open_folder(flags.calibration_dir);
  QuantizeJob job = flags.quantize.job();
  job.state = calibration_state_path(flags.output);
  const struct NoEmptyFolder {  // finished layers stay when this fails, a folder without any does not
    const std::filesystem::path& folder;
    ~NoEmptyFolder() { remove_empty_state_folder(folder); }
  } no_empty_folder{job.state};
  const CalibrationSplit split = split_calibration(folder, flags.samples, flags.held_back, job.options.seed);
  note_split(flags, split);
  if (!flags.write_recipe.empty())
    write_file(flags.write_recipe, recipe_json(verb).dump(1) + '\n', flags.overwrite, &kRecipeOutput);
  if (flags.dry_run) return dry_run(*loaded.model, split, job, flags);
  const CalibrationSet images = calibration_from_files(*loaded.model, split.calibration, split.held_back);
  QuantizeReport report;
  {
    std::unique_ptr<Progress> progress;
    report = quantize_model(loaded, images, job, flags.run.parsed_isa(), flags.run.threads, flags.noise_images,
                            stage_progress(progress));
  }
  save_igq(flags.output, report.model, flags.overwrite);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  remove_calibration_state(job.state, *loaded.model);
  for (const std::string& line : report.notes) note("igq: note: " + line);
  if (!flags.from.empty()) note_other_images(flags.from, report.model.provenance);
  if (report.resumed_layers > 0)
    note(fmt::format("igq: went on from an interrupted run, which had finished {} layers", report.resumed_layers));
  const std::string table = site_table(report, *loaded.model).text();  // measure_drop takes the plan off the model

  const std::optional<SpeedOnThisMachine> speed = measure_speed(flags, loaded);
  const auto file_bytes = static_cast<double>(fs::file_size(flags.output));
  const auto before = float_bytes(expected_tensors(loaded.model->config()));
  Gate gate;
  if (!flags.data_dir.empty()) {
    gate = measure_drop(flags, loaded);
    if (flags.max_drop >= 0.0 && !(gate.drop() <= flags.max_drop)) exit_code = kGateNotMet;
  } else if (flags.max_drop >= 0.0 && !(drop_of(report.verdict) <= flags.max_drop)) {
    exit_code = kGateNotMet;
  }
  if (flags.run.json) {
    nlohmann::json document = {{"model", loaded.name},
                               {"output", flags.output},
                               {"settings", report.model.provenance.settings},
                               {"calibration_images", images.count},
                               {"calibration_memory_mb", static_cast<double>(report.calibration_bytes) / 1e6},
                               {"peak_rss_mb", peak_rss_mb()},
                               {"seconds", seconds},
                               {"file_mb", file_bytes / 1e6},
                               {"float_mb", before / 1e6},
                               {"groups_least", groups_in_use(report.model.plan).least},
                               {"groups_most", groups_in_use(report.model.plan).most},
                               {"notes", report.notes},
                               {"report", report.model.report}};
    if (speed) document["speedup"] = speed->ratio;
    if (report.verdict.images > 0) document["verdict"] = verdict_to_json(report.verdict);
    if (!flags.data_dir.empty()) {
      if (gate.encoder) {
        document["cosine_mean"] = gate.cosines.mean;
        document["cosine_percentile_1"] = gate.cosines.percentile1;
        document["recall_at_1"] = gate.recall.at1;
        document["recall_at_10"] = gate.recall.at10;
      } else {
        document["top1_float"] = gate.float_top1;
        document["top1"] = gate.top1;
      }
      document["images"] = gate.images;
    }
    print_json(document);
  } else {
    std::cout << table;
    std::cout << groups_line(flags.quantize, report.model.plan) << bits_line(report.bit_allocation);
    std::cout << fmt::format("\n{}: {} from {} in float ({:.1f}x smaller), {} calibration images\n", flags.output,
                             megabytes(file_bytes), megabytes(before), before / file_bytes, images.count);
    if (report.reconstruction) std::cout << reconstruction_text(*report.reconstruction);
    std::cout << fmt::format("took {:.0f} s; memory: statistics {}, peak {:.0f} MB\n", seconds,
                             megabytes(static_cast<double>(report.calibration_bytes)), peak_rss_mb());
    if (gate.encoder)
      std::cout << fmt::format(
          "{} images: cosine to float {:.5f} in the mean, {:.5f} at the 1st percentile; nearest neighbours: recall@1 "
          "{:.4f}, recall@10 {:.4f}\n",
          gate.images, gate.cosines.mean, gate.cosines.percentile1, gate.recall.at1, gate.recall.at10);
    else if (!flags.data_dir.empty())
      std::cout << fmt::format("top-1 on {} images: float {:.2f} %, quantized {:.2f} %\n", gate.images, gate.float_top1,
                               gate.top1);
    std::cout << (report.verdict.images > 0 ? verdict_text(report.verdict) : "no verdict: --noise-images is 0\n");
    if (speed) std::cout << speed_text(*speed, flags.run.parsed_isa()) << '\n';
    std::cout << std::flush;  // warnings come last
  }
  for (const std::string& warning : report.verdict.warnings) note("igq: WARNING: " + warning);
  if (flags.quantize.file_size > 0.0 && file_bytes > flags.quantize.file_size * 1e6)
    note(fmt::format("igq: WARNING: the file has {}, more than --file-size {} MB asked for", megabytes(file_bytes),
                     flags.quantize.file_size));
  const bool dropped = exit_code == kGateNotMet;
  if (speed) flags.speed.judge(speed->ratio, exit_code);
  if (dropped && !flags.data_dir.empty())
    note(fmt::format("igq: {} {:.2f} points, more than --max-drop {}",
                     gate.encoder ? "recall@1 of nearest neighbours fell by" : "top-1 fell by", gate.drop(),
                     flags.max_drop));
  else if (dropped)
    note(report.verdict.cosines
             ? fmt::format("igq: the mean cosine of embeddings to float fell by {:.3f} % of 1, more than --max-drop {}",
                           drop_of(report.verdict), flags.max_drop)
             : fmt::format("igq: {:.2f} % of {} calibration images are predicted otherwise than in float, more than "
                           "--max-drop {}",
                           100.0 - report.verdict.agreement, report.verdict.images, flags.max_drop));
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
  verb->add_option(
          "--held-back", flags->held_back,
          "images of the folder that do not calibrate but measure the result (default: up to 32 of those that\n"
          "--samples leaves over; where it leaves none, a quarter of the folder, at most 8)")
      ->check(CLI::Range(0, 100000));
  CLI::Option* output = verb->add_option(
      "-o,--output", flags->output,
      "the .igq file to write; finished layers are kept in OUTPUT.calibration until it is written, and the\n"
      "same command goes on from there");
  CLI::Option* dry = verb->add_flag("--dry-run", flags->dry_run, "print sites, bits and the file's size; make nothing");
  verb->add_option("--recipe", flags->recipe, "take the options that decide the result from this file");
  verb->add_option("--from", flags->from, "take them from what this .igq file was made with");
  verb->add_option("--write-recipe", flags->write_recipe, "write those given here to this JSON file");
  verb->add_flag("--overwrite", flags->overwrite, "replace an existing output");
  flags->quantize.add_to(*verb);
  verb->add_option("--scope", flags->scope,
                   "of a detector: all, or backbone, which leaves neck and heads float (default: all)")
      ->check(parsed_by([](const std::string& t) { parse_scope(t); }, "NAME"));
  verb->add_option("--noise-images", flags->noise_images,
                   "images that measure the error of each site for the table (0: no errors and no verdict)")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  verb->add_option("--data-dir", flags->data_dir,
                   "labelled test images: top-1 before and after is printed; of an encoder any\nimages: cosines and "
                   "neighbours found (recall@1, @10)");
  flags->classes.add_to(*verb);
  verb->add_option("--max-drop", flags->max_drop,
                   "exit with code 3 when top-1 on --data-dir falls by more points than this; without --data-dir when\n"
                   "more percent of the images held back are predicted otherwise than in float; for encoders when "
                   "the\nmean cosine of their vectors to float is below 1 by more percent than this, with --data-dir "
                   "when\nrecall@1 of nearest neighbours is below 100 by more points; for detectors when more percent "
                   "of float's "
                   "objects\nare not found again")
      ->check(number_in(0.0, 100.0));
  flags->speed.add_to(*verb);
  verb->add_option("--limit", flags->limit, "only so many images of --data-dir")->check(count_from_one());
  flags->run.add_to(*verb, false);
  verb->callback([flags, verb, output, dry, &exit_code] {
    if (output->empty() && dry->empty()) throw CLI::RequiredError("--output");
    run_quantize(*flags, *verb, exit_code);
  });
}

}  // namespace igq::cli
