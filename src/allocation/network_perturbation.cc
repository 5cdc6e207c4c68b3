#include "allocation/network_perturbation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "allocation/site_error.h"
#include "allocation/trials.h"
#include "base/fail.h"

namespace igq {
namespace {

/// A layer with its trials, and the error of each from the float pass.
struct TriedLayer {
  std::vector<Trial> trials;
  std::optional<SiteErrors> errors;  // none for weights
};

class ErrorsOfAll final : public SiteObserver {
 public:
  explicit ErrorsOfAll(std::size_t sites) : by_site_(sites, nullptr) {}
  void add(int site, SiteErrors& errors) { by_site_[static_cast<std::size_t>(site)] = &errors; }
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override {
    if (SiteErrors* errors = by_site_[static_cast<std::size_t>(site)]; errors != nullptr)
      errors->on_tensor(site, operand, part, x, ld, rows, cols);
  }

 private:
  std::vector<SiteErrors*> by_site_;
};

}  // namespace

ShapeObserver::ShapeObserver(const Network& network) {
  for (const Site& site : network.sites()) {
    SiteShape& shape = shapes_.emplace_back();
    shape.name = site.name;
    shape.attention = site.attention != nullptr;
    shape.first_or_last = site.first_or_last;
    shape.output = site.output;
    if (shape.attention) {
      shape.heads = site.attention->heads();
      shape.head_dim = site.attention->head_dim();
      continue;
    }
    shape.in = site.channels();
    shape.out = site.outputs();
    shape.taps = site.taps();
  }
}

void ShapeObserver::on_tensor(int site, Operand operand, int part, const float*, std::int64_t, int rows, int cols) {
  SiteShape& shape = shapes_[static_cast<std::size_t>(site)];
  switch (operand) {
    case Operand::kInput:
      shape.input_rows += rows;
      break;
    case Operand::kOutput:
      if (!shape.attention) shape.rows += rows;
      break;
    case Operand::kSoftmax:
      if (part == 0) ++shape.windows;
      shape.tokens = std::max<std::int64_t>(shape.tokens, rows);
      shape.keys = std::max<std::int64_t>(shape.keys, cols);
      break;
    case Operand::kQ:
    case Operand::kK:
    case Operand::kV:
      break;
  }
}

std::vector<SiteShape> ShapeObserver::means(std::int64_t images) const {
  std::vector<SiteShape> result = shapes_;
  for (SiteShape& shape : result) {
    if (shape.input_rows == 0 && shape.windows == 0) shape.first_or_last = true;
    for (std::int64_t* sum : {&shape.rows, &shape.input_rows, &shape.windows}) *sum = (*sum + images / 2) / images;
  }
  return result;
}

std::vector<SiteShape> observed_shapes(const CalibrationPasses& passes) {
  ShapeObserver observer(*passes.network);
  for (std::int64_t i = 0; i < passes.images; ++i) passes.run(i, observer);
  return observer.means(passes.images);
}

std::int64_t trial_passes(std::int64_t images, std::span<const SiteShape> shapes, const QuantizeOptions& options,
                          const PerturbationOptions& perturbation) {
  std::int64_t count = 0;
  for (const Layer& layer : layers_with_choice(shapes, options, perturbation))
    count += std::count_if(layer.candidates.begin(), layer.candidates.end(),
                           [](const GroupCandidate& c) { return c.measured == kToRun; });
  return count * images;
}

Perturbations measure_perturbations(const OutputProbe& probe, std::span<const SiteShape> shapes,
                                    const Statistics& statistics, const QuantizeOptions& options,
                                    const PerturbationOptions& perturbation,
                                    const std::function<void(std::int64_t)>& progress) {
  const CalibrationPasses& passes = probe.passes;
  if (passes.images <= 0) fail("allocation needs at least one calibration image");
  const auto sites = passes.network->sites();
  const kernels::Kernels& kernels = *passes.kernels;
  for (const Site& site : sites) attach(site, nullptr, kernels);
  const std::vector<Layer> layers = layers_with_choice(shapes, options, perturbation);
  std::vector<TriedLayer> tried(layers.size());
  ErrorsOfAll errors(sites.size());
  for (std::size_t n = 0; n < layers.size(); ++n) {
    const Layer& layer = layers[n];
    const Site& site = sites[static_cast<std::size_t>(layer.site)];
    std::vector<const ActivationPlan*> plans;
    for (const GroupCandidate& candidate : layer.candidates)
      tried[n].trials.push_back(make_trial(site, layer, statistics, options, candidate));
    for (Trial& trial : tried[n].trials) {
      if (layer.weights) trial.candidate.error = weight_error(site, trial.linear->weight);
      plans.push_back(&trial.plan());
    }
    if (layer.weights) continue;
    const bool conv = site.has_weights() && site.taps() > 1;
    tried[n].errors.emplace(
        layer.site, std::move(plans),
        site.has_weights() ? std::make_shared<const std::vector<float>>(column_powers(site)) : nullptr, kernels, conv);
    errors.add(layer.site, *tried[n].errors);
  }

  const auto images = static_cast<double>(passes.images);
  std::int64_t done = 0;
  for (std::int64_t i = 0; i < passes.images; ++i) {
    passes.run(i, errors);
    for (std::size_t n = 0; n < layers.size(); ++n) {
      const Site& site = sites[static_cast<std::size_t>(layers[n].site)];
      std::vector<double> of_image;
      if (tried[n].errors) of_image = tried[n].errors->take();
      for (std::size_t t = 0; t < tried[n].trials.size(); ++t) {
        Trial& trial = tried[n].trials[t];
        if (!of_image.empty()) trial.candidate.error += of_image[t] / images;
        if (trial.candidate.measured == kNotRun) continue;
        attach(site, &trial, kernels);
        const double divergence = probe.divergence(layers[n].site);
        attach(site, nullptr, kernels);
        if (!std::isfinite(divergence))
          fail("{}: an output is not finite when {} is quantized; are the weights damaged?",
               passes.network->architecture(), site.name);
        trial.candidate.measured += divergence / images;
        if (progress) progress(++done);
      }
    }
  }

  std::vector<SitePerturbation> measured;
  for (std::size_t n = 0; n < layers.size(); ++n) {
    SitePerturbation layer{sites[static_cast<std::size_t>(layers[n].site)].name, {}};
    for (const Trial& trial : tried[n].trials) {
      layer.candidates.push_back(trial.candidate);
      layer.candidates.back().divergence = std::max(trial.candidate.measured, 0.0);
    }
    measured.push_back(std::move(layer));
  }
  return fitted_perturbations(layers, shapes, std::move(measured), perturbation);
}

}  // namespace igq
