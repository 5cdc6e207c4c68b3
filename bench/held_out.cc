// Errors of settings on the calibration images that calibration leaves over: what settings are chosen by, so that test
// images choose nothing (docs/accuracy.md).
//   bench_held_out MODEL CALIBRATION-DIR SAMPLES SEED[,SEED...] SETTINGS-FILE
// SETTINGS-FILE has one setting per line, in flags of `igq quantize`. For each: `SAMPLES` images chosen with the seed
// calibrate, at most 64 of the rest, four views each, are run in integers against the float model. Printed: the
// signal-to-noise ratio of what enters the head (mean over images and the least of them) and of the logits (of all
// together) in dB, the mean divergence of the predictions, agreement.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>

#include "allocation/perturbation.h"
#include "calibration/views.h"
#include "cli/common.h"
#include "cli/quantize_flags.h"
#include "io/preprocess.h"

namespace igq {
namespace {

constexpr int kViews = 4;
constexpr std::ptrdiff_t kMostImages = 64;

class HeadInput final : public SiteObserver {
 public:
  explicit HeadInput(int site) : site_(site) {}
  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t, int, int cols) override {
    if (site == site_ && operand == Operand::kInput) values.assign(x, x + cols);
  }
  std::vector<float> values;

 private:
  int site_;
};

struct Outputs {
  std::vector<std::vector<float>> features, logits;  // [images]
};

/// All views of `samples`, one after the other.
AlignedBuffer<float> load_views(const Model& model, const std::vector<Sample>& samples) {
  const ModelConfig& config = model.config();
  ViewLoader loader(config, kViews, [&](std::int64_t i, float* out) {
    preprocess_file(samples[static_cast<std::size_t>(i)].path, config.preprocess, config.image_height,
                    config.image_width, out);
  });
  const std::int64_t floats = model.image_floats(), count = std::ssize(samples) * kViews;
  AlignedBuffer<float> views(static_cast<std::size_t>(count * floats));
  for (std::int64_t i = 0; i < count; ++i) std::copy_n(loader.view(i), floats, views.data() + i * floats);
  return views;
}

Outputs run(Model& model, Execution execution, const AlignedBuffer<float>& images) {
  Runner runner(model, execution);
  HeadInput head(model.find_site("head"));
  runner.context().observer = &head;
  Outputs outputs;
  const auto floats = static_cast<std::size_t>(model.image_floats());
  for (std::size_t at = 0; at < images.size(); at += floats) {
    const auto logits = runner.run(images.data() + at);
    outputs.logits.emplace_back(logits.begin(), logits.end());
    outputs.features.push_back(head.values);
  }
  return outputs;
}

struct Energy {
  double signal = 0.0, noise = 0.0;
  void add(const std::vector<float>& reference, const std::vector<float>& test) {
    for (std::size_t i = 0; i < reference.size(); ++i) {
      const auto r = static_cast<double>(reference[i]), d = r - static_cast<double>(test[i]);
      signal += r * r;
      noise += d * d;
    }
  }
  double decibels() const { return 10.0 * std::log10(signal / std::max(noise, 1e-300)); }
};

std::string compared(const Outputs& reference, const Outputs& test) {
  const std::size_t n = reference.logits.size();
  double features = 0.0, least = std::numeric_limits<double>::infinity(), divergence = 0.0;
  std::size_t same = 0;
  Energy logits;
  for (std::size_t i = 0; i < n; ++i) {
    Energy energy;
    energy.add(reference.features[i], test.features[i]);
    features += energy.decibels() / static_cast<double>(n);
    least = std::min(least, energy.decibels());
    logits.add(reference.logits[i], test.logits[i]);
    const std::vector<float>&p = reference.logits[i], &q = test.logits[i];
    divergence += divergence_of_logits(p.data(), q.data(), p.size()) / static_cast<double>(n);
    same += std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
  }
  return fmt::format("features {:5.2f} dB (least {:5.2f}), logits {:5.2f} dB, KL {:.5f}, same {:5.1f} %", features,
                     least, logits.decibels(), divergence, 100.0 * static_cast<double>(same) / static_cast<double>(n));
}

std::vector<std::string> split(std::istream& in, char separator) {
  std::vector<std::string> parts;
  for (std::string part; std::getline(in, part, separator);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

void measure(const std::string& path, const std::string& calibration, int count, std::istream& seeds,
             std::istream& settings) {
  LoadedModel model = load_model(path);
  const ImageFolder folder = list_images(calibration);
  const std::vector<std::string> lines = split(settings, '\n');
  for (const std::string& seed : split(seeds, ',')) {
    const std::vector<Sample> all = choose_samples(folder, static_cast<int>(folder.samples.size()), std::stoull(seed));
    if (static_cast<std::size_t>(count) >= all.size()) throw Error("no image is left over: give fewer samples");
    const std::vector<Sample> chosen(all.begin(), all.begin() + count);
    const std::vector<Sample> rest(all.begin() + count,
                                   all.begin() + std::min<std::ptrdiff_t>(std::ssize(all), count + kMostImages));
    const CalibrationSet images = calibration_from_files(*model.model, chosen);
    const AlignedBuffer<float> held = load_views(*model.model, rest);
    restore_float(model);
    const Outputs reference = run(*model.model, Execution::kFloat, held);
    for (const std::string& line : lines) {
      cli::QuantizeFlags flags;
      CLI::App app;
      flags.add_to(app);
      app.parse(line + " --seed " + seed);
      const auto start = std::chrono::steady_clock::now();
      quantize_model(model, images, flags.job(), best_isa(), 0, 0);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      std::cout << fmt::format("{}  seed {:<2} {:<50} ({:.0f} s)",
                               compared(reference, run(*model.model, Execution::kInteger, held)), seed, line, seconds)
                << std::endl;
    }
  }
}

}  // namespace
}  // namespace igq

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "bench_held_out MODEL CALIBRATION-DIR SAMPLES SEED[,SEED...] SETTINGS-FILE\n";
    return 2;
  }
  try {
    std::istringstream seeds(argv[4]);
    std::ifstream settings(argv[5]);
    igq::measure(argv[1], argv[2], std::stoi(argv[3]), seeds, settings);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << "bench_held_out: " << e.what() << "\n";
    return 1;
  }
}
