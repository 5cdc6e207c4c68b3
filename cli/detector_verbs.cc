#include "detector_verbs.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <numeric>

#include "base/fail.h"
#include "detect.h"
#include "folders.h"
#include "models/plan_json.h"
#include "pipeline/detector_latencies.h"
#include "pipeline/quantize_detector.h"
#include "pipeline/shadow_sites.h"
#include "quantize_detector.h"

namespace igq::cli {
namespace {

std::string shape_of(const Site& site) {
  if (site.linear != nullptr) return fmt::format("{} -> {}", site.channels(), site.outputs());
  if (site.conv != nullptr) {
    const ConvShape& s = site.conv->shape();
    return fmt::format("{} -> {}, {}x{}{}", s.in, s.out, s.kernel, s.kernel,
                       s.stride > 1 ? fmt::format(", stride {}", s.stride) : "");
  }
  return fmt::format("{} heads of {}", site.attention->heads(), site.attention->head_dim());
}

/// A picture of soft waves and noise, as large as the network takes it.
Image synthetic_picture(int height, int width, std::uint64_t seed) {
  ModelConfig config;
  config.image_height = height;
  config.image_width = width;
  const AlignedBuffer<float> planes = synthetic_images(config, 1, seed);
  Image image;
  image.width = width;
  image.height = height;
  const std::size_t pixels = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  image.rgb.resize(3 * pixels);
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t c = 0; c < 3; ++c)
      image.rgb[3 * p + c] =
          static_cast<std::uint8_t>(std::clamp(128.0f + 50.0f * planes[c * pixels + p], 0.0f, 255.0f));
  return image;
}

struct BenchRow {
  Execution execution;
  Latency latency;
  std::vector<double> profile;  ///< milliseconds of processor time by kind of work
};

std::vector<double> profile_of(DetectorRunner& runner, const Image& image) {
  constexpr int kPasses = 3;
  Profile profile;
  runner.context().profile = &profile;
  for (int i = 0; i < kPasses; ++i) runner.detect(image, runner.detector().default_threshold());
  runner.context().profile = nullptr;
  std::vector<double> ms;
  for (const double s : profile.seconds) ms.push_back(1e3 * s / kPasses);
  return ms;
}

}  // namespace

void inspect_detector(const ModelFlags& model, bool json) {
  const LoadedDetector loaded = load_detector(model.path, model.architecture);
  const Detector& detector = *loaded.detector;
  if (json) {
    nlohmann::json sites = nlohmann::json::array();
    for (const Site& site : detector.sites()) sites.push_back({{"site", site.name}, {"shape", shape_of(site)}});
    nlohmann::json document = {{"model", loaded.name},
                               {"architecture", detector.architecture()},
                               {"labels", detector.labels()},
                               {"masks", detector.has_masks()},
                               {"score_threshold", detector.default_threshold()},
                               {"sites", std::move(sites)}};
    if (loaded.quantized) {
      document["plan"] = plan_to_json(*detector.plan());
      document["provenance"] = provenance_to_json(loaded.provenance);
      document["report"] = loaded.report;
      document["file_mb"] = static_cast<double>(std::filesystem::file_size(model.path)) / 1e6;
    }
    return print_json(document);
  }
  std::cout << fmt::format("{}: {} labels, {}, scores above {:.2g}\n", printable(detector.architecture()),
                           detector.labels().size(), detector.has_masks() ? "boxes and masks" : "boxes",
                           detector.default_threshold());
  if (loaded.quantized) {
    const Provenance& p = loaded.provenance;
    std::cout << fmt::format("quantized from {} ({}) on {} images ({}), igq {}\nsettings: {}\n\n", printable(p.source),
                             printable(p.source_checksum), p.calibration_images, printable(p.calibration_checksum),
                             printable(p.tool_version), printable(p.settings));
    std::cout << detector_site_table(detector, {}).text();
    return;
  }
  Table table({"site", "shape"});
  for (const Site& site : detector.sites()) table.add({site.name, shape_of(site)});
  std::cout << table.text();
}

void compare_detectors(const ModelFlags& model, const RunFlags& run, const CompareDetectorsFlags& flags) {
  RunFlags plain = run;
  plain.execution.clear();
  RunningDetector a(model, plain);
  ModelFlags other = model;
  other.path = flags.other;
  if (is_igq_file(flags.other)) other.architecture.clear();
  RunningDetector b(other, run);
  const ImageFolder folder = open_folder(flags.data_dir);
  const std::vector<Sample> samples =
      flags.limit > 0 ? choose_samples(folder, static_cast<int>(flags.limit), 0) : folder.samples;
  const Detector& original = a.detector();
  if (original.labels() != b.detector().labels() || original.has_masks() != b.detector().has_masks())
    fail("{} and {} find other things: they cannot be compared", model.path, flags.other);
  AgreementCounter agreement(original, truth_threshold(original));
  const bool alone = !a.loaded().quantized && b.runner().execution() == Execution::kInteger && flags.alone_images > 0;
  ShadowSites shadow(b.detector(), b.runner().kernels(), b.runner().pool());
  {
    Progress progress("comparing", static_cast<std::int64_t>(samples.size()));
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const std::string file = samples[i].path.string();
      const Image image = a.load(file);
      const float threshold = original.evaluation_threshold();
      const auto truth = alone && static_cast<int>(i) < flags.alone_images ? a.runner().watch(image, threshold, shadow)
                                                                           : a.detect(image, file, threshold);
      agreement.add(truth, b.detect(image, file, threshold), image.height, image.width);
      progress.update(static_cast<std::int64_t>(i) + 1);
    }
  }
  const DetectionAgreement result = agreement.result();
  const std::vector<SiteNoise> noise = shadow.noise();
  if (run.json) {
    nlohmann::json sites = nlohmann::json::array();
    for (const SiteNoise& s : noise) sites.push_back({{"site", s.site}, {"snr_alone_db", *s.alone}});
    nlohmann::json document = {{"a", a.loaded().name}, {"b", b.loaded().name}, {"sites", std::move(sites)}};
    document.update(agreement_to_json(result));
    document.update(machine_json(run.parsed_isa(), b.runner().pool().size()));
    return print_json(document);
  }
  if (alone) {
    Table table({"site", "alone dB"});
    for (const SiteNoise& s : noise) table.add({s.site, fmt::format("{:.1f}", *s.alone)});
    std::cout << table.text() << '\n';
  } else {
    std::cout << "(errors of single layers need a float detector as A and an .igq file as B)\n";
  }
  std::cout << agreement_text(result);
}

void bench_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                    const BenchDetectorFlags& flags, int& exit_code) {
  BenchmarkOptions options = flags.options;
  if (options.batch != 1) fail("--batch is for classifiers: a detector looks at one picture at a time");
  std::vector<Execution> executions = {Execution::kFloat, Execution::kInteger};
  if (!run.execution.empty()) executions = {parse_execution(run.execution)};
  LoadedDetector loaded = load_detector(model.path, model.architecture);
  if (loaded.quantized && !quantize.first_given().empty())
    fail("{} is quantized already: {} has no effect", loaded.name, quantize.first_given());
  const auto [height, width] = loaded.detector->usual_size();
  const Image image = synthetic_picture(height, width, options.seed);
  QuantizeFlags settings = quantize;
  if (settings.weights.empty()) settings.weights = "rtn";
  if (!loaded.quantized && executions.back() != Execution::kFloat) {
    note("igq: calibrating on a synthetic image; accuracy means nothing here, only time");
    DetectorPictures pictures;
    pictures.count = 1;
    pictures.load = [&](std::int64_t) { return image; };
    quantize_detector(loaded, pictures, settings.job(), DetectorScope::kAll, run.parsed_isa(), run.threads, 0);
  }
  std::vector<BenchRow> rows;
  std::vector<std::unique_ptr<DetectorRunner>> runners;
  std::vector<DetectorRunner*> in_turn;
  for (const Execution execution : executions) {
    runners.push_back(std::make_unique<DetectorRunner>(*loaded.detector, execution, run.parsed_isa(), run.threads));
    in_turn.push_back(runners.back().get());
  }
  const int threads = runners.front()->pool().size();
  if (flags.throughput) options.batch = kImagesOfThread * threads;
  const std::vector<Latency> latencies = measure_latencies(in_turn, image, options);
  for (std::size_t i = 0; i < executions.size(); ++i) {
    rows.push_back({executions[i], latencies[i], {}});
    if (flags.profile) rows.back().profile = profile_of(*runners[i], image);
  }
  const double speedup = rows.size() > 1 ? rows[0].latency.median_ms / rows[1].latency.median_ms : 1.0;
  if (rows.size() > 1) flags.gate.judge(speedup, exit_code);
  if (run.json) {
    nlohmann::json document = {{"model", loaded.name},        {"architecture", loaded.detector->architecture()},
                               {"image_height", height},      {"image_width", width},
                               {"batch", options.batch},      {"images_at_once", flags.throughput ? threads : 1},
                               {"peak_rss_mb", peak_rss_mb()}};
    for (const BenchRow& row : rows) {
      nlohmann::json entry = {
          {"latency_ms", {{"median", row.latency.median_ms}, {"min", row.latency.min_ms}, {"p95", row.latency.p95_ms}}},
          {"images_per_s", row.latency.images_per_s},
          {"passes", row.latency.passes}};
      for (std::size_t w = 0; w < row.profile.size(); ++w)
        entry["profile"][std::string(work_name(static_cast<Work>(w)))] = row.profile[w];
      document["executions"][std::string(execution_name(row.execution))] = std::move(entry);
    }
    if (rows.size() > 1) document["speedup"] = speedup;
    document.update(machine_json(run.parsed_isa(), threads));
    return print_json(document);
  }
  std::cout << fmt::format("{} {}x{}, {}{} thread{}, {}, {}\n", printable(loaded.detector->architecture()), height,
                           width,
                           flags.throughput ? fmt::format("{} pictures, one on each thread, ", options.batch) : "",
                           threads, threads == 1 ? "" : "s", isa_name(run.parsed_isa()), cpu_name());
  Table table({"execution", "median ms", "min ms", "p95 ms", "images/s"});
  for (const BenchRow& row : rows)
    table.add({std::string(execution_name(row.execution)), fmt::format("{:.2f}", row.latency.median_ms),
               fmt::format("{:.2f}", row.latency.min_ms), fmt::format("{:.2f}", row.latency.p95_ms),
               fmt::format("{:.2f}", row.latency.images_per_s)});
  std::cout << table.text();
  if (rows.size() > 1) std::cout << fmt::format("integer is {:.2f}x as fast as float\n", speedup);
  std::cout << fmt::format("peak memory {:.0f} MB\n", peak_rss_mb());
  if (!flags.profile) return;
  std::vector<std::string> header{"ms per image"};
  for (const BenchRow& row : rows) header.emplace_back(execution_name(row.execution));
  Table kinds(header);
  for (std::size_t w = 0; w < static_cast<std::size_t>(Work::kCount); ++w) {
    std::vector<std::string> line{std::string(work_name(static_cast<Work>(w)))};
    for (const BenchRow& row : rows) line.push_back(fmt::format("{:.2f}", row.profile[w]));
    kinds.add(line);
  }
  std::cout << '\n' << kinds.text();
}

}  // namespace igq::cli
