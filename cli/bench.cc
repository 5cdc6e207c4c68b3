// igq bench: latency and throughput, float and integer side by side, with or without a checkpoint.
#include "eval/benchmark.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <numeric>
#include <set>

#include "base/fail.h"
#include "common.h"
#include "detect.h"
#include "detector_verbs.h"
#include "models/registry.h"
#include "pipeline/groups_in_use.h"
#include "pipeline/quantize_model.h"
#include "quantize_flags.h"
#include "speed.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct BenchFlags {
  ModelFlags model;
  RunFlags run;
  QuantizeFlags quantize;
  BenchmarkOptions options;
  bool profile = false, throughput = false;
  SpeedGate gate;
};

/// One execution's figures.
struct Row {
  Execution execution = Execution::kFloat;
  Latency latency;
  std::vector<double> profile;  ///< empty without --profile
};

double speedup_of(const std::vector<Row>& rows) { return rows[0].latency.median_ms / rows[1].latency.median_ms; }

/// Milliseconds of processor time per image and kind of work.
std::vector<double> measure_profile(Runner& runner, const BenchmarkOptions& options) {
  constexpr int kPasses = 20;
  const AlignedBuffer<float> image = synthetic_images(runner.model().config(), 1, options.seed);
  Profile profile;
  runner.context().profile = &profile;
  for (int i = 0; i < kPasses; ++i) runner.run(image.data());
  runner.context().profile = nullptr;
  std::vector<double> ms;
  for (const double s : profile.seconds) ms.push_back(1e3 * s / kPasses);
  return ms;
}

nlohmann::json profile_json(const std::vector<double>& ms) {
  nlohmann::json kinds = nlohmann::json::object();
  for (std::size_t w = 0; w < ms.size(); ++w) kinds[std::string(work_name(static_cast<Work>(w)))] = ms[w];
  return {{"ms_per_image", std::accumulate(ms.begin(), ms.end(), 0.0)}, {"kinds", std::move(kinds)}};
}

nlohmann::json row_json(const Row& row) {
  nlohmann::json json = {
      {"latency_ms", {{"median", row.latency.median_ms}, {"min", row.latency.min_ms}, {"p95", row.latency.p95_ms}}},
      {"images_per_s", row.latency.images_per_s},
      {"passes", row.latency.passes},
      {"execution", execution_name(row.execution)}};
  if (!row.profile.empty()) json["profile"] = profile_json(row.profile);
  return json;
}

void print_profiles(const std::vector<Row>& rows) {
  std::vector<std::string> header{"ms per image (batch 1)"};
  for (const Row& row : rows) header.emplace_back(execution_name(row.execution));
  Table table(header);
  for (std::size_t w = 0; w < static_cast<std::size_t>(Work::kCount); ++w) {
    std::vector<std::string> line{std::string(work_name(static_cast<Work>(w)))};
    for (const Row& row : rows) line.push_back(fmt::format("{:.2f}", row.profile[w]));
    table.add(line);
  }
  std::vector<std::string> total{"total"};
  for (const Row& row : rows)
    total.push_back(fmt::format("{:.2f}", std::accumulate(row.profile.begin(), row.profile.end(), 0.0)));
  table.add(total);
  std::cout << '\n' << table.text();
}

/// What igq quantize does by default, but for the weights: how they are rounded does not change the speed, so the
/// quickest way will do.
QuantizeFlags bench_flags(const BenchFlags& flags) {
  QuantizeFlags quantize = flags.quantize;
  if (quantize.weights.empty()) quantize.weights = "rtn";
  return quantize;
}
QuantizeJob bench_job(const BenchFlags& flags) { return bench_flags(flags).job(); }

/// "w8a8 scale, 8 groups (2-5 used)": what the quantized model runs with.
std::string plan_line(const BenchFlags& flags, const LoadedModel& loaded) {
  const QuantizationPlan& plan = *loaded.model->plan();
  std::set<std::pair<int, int>> bits;
  std::set<std::string_view> groupings;
  for (const auto& [name, linear] : plan.linears) {
    bits.emplace(linear.weight.bits, linear.input.bits);
    if (linear.input.grouping != Grouping::kFloat) groupings.insert(grouping_name(linear.input.grouping));
  }
  std::string text = "integer:";
  for (const auto& [w, a] : bits) text += fmt::format(" w{}a{}", w, a);
  for (const std::string_view name : groupings) text += fmt::format(", {}", name);
  const GroupsInUse used = groups_in_use(plan);
  const bool asked = !loaded.quantized && !bench_job(flags).allocate && groups_matter(bench_job(flags).options);
  if (used.most > 0)
    text += fmt::format(", groups per layer {}", groups_text(asked ? flags.quantize.groups : "", used));
  return text + "\n";
}

/// A quantized .igq as it is; anything else gets a plan from synthetic images when an execution needs one.
LoadedModel load_for_bench(const BenchFlags& flags, bool needs_plan) {
  LoadedModel loaded;
  if (flags.model.path.empty()) {
    if (flags.model.architecture.empty()) throw CLI::RequiredError("MODEL, or --arch NAME for random weights,");
    ModelConfig config = architecture_config(flags.model.architecture);
    const CheckpointOptions options = flags.model.checkpoint_options();
    if (options.image_height > 0) {
      config.image_height = options.image_height;
      config.image_width = options.image_width;
    }
    loaded = random_model(config, flags.quantize.seed);
  } else {
    loaded = flags.model.load();
  }
  if (loaded.quantized && !flags.quantize.first_given().empty())
    fail("{} is quantized already: {} has no effect", loaded.name, flags.quantize.first_given());
  if (needs_plan && !loaded.quantized) {
    bench_flags(flags).check_effects();
    constexpr std::int64_t kCalibrationImages = 4;
    note("igq: calibrating on synthetic images; accuracy means nothing here, only time");
    const CalibrationSet images = synthetic_calibration(*loaded.model, kCalibrationImages, flags.quantize.seed);
    quantize_model(loaded, images, bench_job(flags), flags.run.parsed_isa(), flags.run.threads, 0);
  }
  return loaded;
}

void run_bench(BenchFlags flags, int& exit_code) {
  if (flags.gate.wanted() && !flags.run.execution.empty())
    throw CLI::ValidationError("--min-speedup compares integer with float execution: leave out --execution");
  if (!flags.model.path.empty() && names_detector(flags.model)) {
    return bench_detector(flags.model, flags.run, flags.quantize,
                          {flags.options, flags.profile, flags.throughput, flags.gate}, exit_code);
  }
  std::vector<Execution> executions;
  if (flags.run.execution.empty())
    executions = {Execution::kFloat, Execution::kInteger};
  else
    executions = {parse_execution(flags.run.execution)};
  LoadedModel loaded = load_for_bench(flags, executions.back() != Execution::kFloat);
  if (executions.size() == 1) loaded.prepare_only(executions[0], kernels::kernels_for(flags.run.parsed_isa()));
  std::vector<std::unique_ptr<Runner>> runners;
  std::vector<Runner*> in_turn;
  for (const Execution execution : executions) {
    runners.push_back(std::make_unique<Runner>(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads));
    in_turn.push_back(runners.back().get());
  }
  const int threads = runners.front()->threads();
  note_threads(flags.run.threads, threads);
  if (flags.throughput) flags.options.batch = kImagesOfThread * threads;
  const std::vector<Latency> latencies = measure_latencies(in_turn, flags.options);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < executions.size(); ++i) {
    rows.push_back({executions[i], latencies[i], {}});
    if (flags.profile) rows.back().profile = measure_profile(*runners[i], flags.options);
  }
  if (rows.size() > 1) flags.gate.judge(speedup_of(rows), exit_code);
  const ModelConfig& config = loaded.model->config();
  if (flags.run.json) {
    nlohmann::json document = row_json(rows.back());
    document["model"] = loaded.name;
    document["architecture"] = config.architecture;
    document["batch"] = flags.options.batch;
    document["images_at_once"] = flags.throughput ? threads : 1;
    document["peak_rss_mb"] = peak_rss_mb();
    if (loaded.model->plan() != nullptr && rows.back().execution != Execution::kFloat) {
      document["groups_least"] = groups_in_use(*loaded.model->plan()).least;
      document["groups_most"] = groups_in_use(*loaded.model->plan()).most;
    }
    if (!loaded.quantized && rows.back().execution != Execution::kFloat)
      document["settings"] = job_text(bench_job(flags));
    document.update(machine_json(flags.run.parsed_isa(), threads));
    if (rows.size() > 1) {
      for (const Row& row : rows) document["executions"][std::string(execution_name(row.execution))] = row_json(row);
      document["speedup"] = speedup_of(rows);
    }
    print_json(document);
    return;
  }
  const std::string batch = flags.throughput ? fmt::format("{} images, one on each thread", flags.options.batch)
                                             : fmt::format("batch {}", flags.options.batch);
  std::cout << fmt::format("{} {}x{}, {}, {} thread{}, {}, {}\n", printable(config.architecture), config.image_height,
                           config.image_width, batch, threads, threads == 1 ? "" : "s",
                           isa_name(flags.run.parsed_isa()), cpu_name());
  Table table({"execution", "median ms", "min ms", "p95 ms", "images/s"});
  for (const Row& row : rows)
    table.add({std::string(execution_name(row.execution)), fmt::format("{:.2f}", row.latency.median_ms),
               fmt::format("{:.2f}", row.latency.min_ms), fmt::format("{:.2f}", row.latency.p95_ms),
               fmt::format("{:.1f}", row.latency.images_per_s)});
  std::cout << table.text();
  if (loaded.model->plan() != nullptr && rows.back().execution != Execution::kFloat)
    std::cout << plan_line(flags, loaded);
  if (rows.size() > 1) std::cout << fmt::format("integer is {:.2f}x as fast as float\n", speedup_of(rows));
  std::cout << fmt::format("peak memory {:.0f} MB\n", peak_rss_mb());
  if (flags.profile) print_profiles(rows);
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto* verb = app.add_subcommand("bench", "latency and throughput, float and integer side by side");
  const auto flags = std::make_shared<BenchFlags>();
  flags->model.add_to(*verb, false);
  CLI::Option* batch = verb->add_option("-b,--batch", flags->options.batch, "images per pass");
  batch->check(CLI::Range(1, 4096))->capture_default_str();
  verb->add_flag("--throughput", flags->throughput,
                 "whole images on every thread, as over folders, instead of one image on all threads; the results\n"
                 "are the same")
      ->excludes(batch);
  verb->add_option("--seconds", flags->options.min_seconds, "timed at least so long, and ten passes")
      ->check(number_in(0.0, 3600.0))
      ->capture_default_str();
  verb->add_option("--warmup", flags->options.warmup, "passes before the timed ones")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  verb->add_flag("--profile", flags->profile, "print where the time goes, per kind of operation");
  flags->quantize.add_to(*verb);
  flags->run.add_to(*verb);
  flags->gate.add_to(*verb);
  verb->callback([flags, &exit_code] { run_bench(*flags, exit_code); });
}

}  // namespace igq::cli
