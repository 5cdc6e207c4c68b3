// The public quantize() and compare(); see include/igq/quantize.h.
#include "igq/quantize.h"

#include <chrono>
#include <mutex>

#include "base/fail.h"
#include "base/json.h"
#include "base/memory_reserve.h"
#include "eval/compare.h"
#include "eval/evaluate.h"
#include "guarded.h"
#include "io/igq_container.h"
#include "pipeline/quantize_settings.h"

namespace igq {
namespace {

nlohmann::json run(const QuantizeRequest& request) {
  const MemoryReserve reserve;
  QuantizeSettings settings;
  for (const auto& [name, value] : request.options) settings.set(name, value);
  if (request.samples < 1) fail("{} calibration images: give 1 or more", request.samples);
  std::error_code ignored;
  if (!request.overwrite && std::filesystem::exists(request.output, ignored))
    fail("{} exists already: write to another file, or allow to overwrite it", request.output.string());
  const Isa isa = parse_isa(request.isa);
  const QuantizeJob job = settings.job();
  const auto start = std::chrono::steady_clock::now();
  LoadedModel loaded = load_model(request.model, {.architecture = request.architecture});
  const ImageFolder folder = list_images(request.calibration);
  const CalibrationSplit split = split_calibration(folder, request.samples, request.held_back, job.options.seed);
  const CalibrationSet images = calibration_from_files(*loaded.model, split.calibration, split.held_back);

  std::mutex one_at_a_time;
  const StageProgress progress = [&](const std::string& stage, std::int64_t units) {
    return [&request, &one_at_a_time, stage, units](std::int64_t done) {
      const std::lock_guard lock(one_at_a_time);
      if (request.progress && !request.progress(stage, done, units)) throw Cancelled("stopped by the caller");
    };
  };
  constexpr int kNoiseImages = 4;  // the program's default
  const QuantizeReport report = quantize_model(loaded, images, job, isa, request.threads, kNoiseImages, progress);
  save_igq(request.output, report.model, request.overwrite);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::vector<std::string> notes = listing_notes(folder);  // files that were left out
  notes.insert(notes.end(), report.notes.begin(), report.notes.end());
  nlohmann::json document = {{"model", loaded.name},
                             {"output", request.output.string()},
                             {"settings", report.model.provenance.settings},
                             {"calibration_images", images.count},
                             {"seconds", seconds.count()},
                             {"file_mb", static_cast<double>(std::filesystem::file_size(request.output)) / 1e6},
                             {"notes", notes}};
  if (report.verdict.images > 0) document["verdict"] = verdict_to_json(report.verdict);
  return document;
}

nlohmann::json compared(const std::filesystem::path& a_path, const std::filesystem::path& b_path,
                        const std::filesystem::path& folder_path, std::int64_t limit, int threads) {
  const MemoryReserve reserve;
  LoadedModel a = load_model(a_path), b = load_model(b_path);
  b.model->set_preprocess(a.model->config().preprocess);  // the same pixels for both
  const ModelConfig& config = a.model->config();
  const ImageFolder folder = list_images(folder_path);
  const std::vector<Sample> samples =
      limit > 0 ? choose_samples(folder, static_cast<int>(std::min<std::int64_t>(limit, 1 << 30)), 0) : folder.samples;
  CompareOptions options;
  options.reference = a.quantized ? Execution::kInteger : Execution::kFloat;
  options.test = b.quantized ? Execution::kInteger : Execution::kFloat;
  options.alone = false;
  ThreadPool pool(threads);
  const Comparison result = compare_models(*a.model, *b.model, options, best_isa(), pool,
                                           static_cast<std::int64_t>(samples.size()), load_samples(config, samples));
  nlohmann::json flips = nlohmann::json::array();
  for (const Flip& f : result.flips)
    flips.push_back({{"file", samples[static_cast<std::size_t>(f.image)].relative}, {"a", f.reference}, {"b", f.test}});
  return {{"a", a.name},
          {"b", b.name},
          {"images", result.images},
          {"agreement", 100.0 * static_cast<double>(result.agreements) / static_cast<double>(result.images)},
          {"logits_snr_db", result.logits_snr},
          {"flips", std::move(flips)}};
}

std::string text_of(const nlohmann::json& document) {
  return document.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string quantize(const QuantizeRequest& request) {
  return guarded([&] { return text_of(run(request)); });
}

std::string compare(const std::filesystem::path& a, const std::filesystem::path& b, const std::filesystem::path& images,
                    std::int64_t limit, int threads) {
  return guarded([&] { return text_of(compared(a, b, images, limit, threads)); });
}

}  // namespace igq
