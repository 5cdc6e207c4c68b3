#include "allocation/perturbation.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "base/json.h"
#include "allocation/bops.h"
#include "allocation/perturbation_cache.h"
#include "allocation/prober.h"
#include "allocation/trials.h"
#include "base/fail.h"
#include "base/hash.h"

namespace igq {
namespace {

/// Whether what a cache holds, which others may have written to, is what would be measured.
bool same_candidates(const std::vector<GroupCandidate>& known, const std::vector<GroupCandidate>& expected) {
  return std::equal(known.begin(), known.end(), expected.begin(), expected.end(),
                    [](const GroupCandidate& a, const GroupCandidate& b) {
                      return a.groups == b.groups && a.bits == b.bits &&
                             (a.measured == kNotRun) == (b.measured == kNotRun);
                    });
}

/// Of what the quantizers of a layer are made from.
std::string checksum_of(const Site& site, int id, const Statistics& statistics) {
  Hasher hasher;
  const auto update = [&](const auto& values) { hasher.update(std::as_bytes(std::span(values))); };
  if (site.linear != nullptr) {
    update(statistics.linear(id).points.points());
    update(statistics.linear(id).channels);
  } else {
    update(statistics.attention(id).row_max.points());
    update(statistics.attention(id).row_position_max);
  }
  return hash_text(hasher.digest());
}

/// Everything the divergences of a layer follow from.
std::string cache_key(const Site& site, const SiteSetting& setting, const QuantizeOptions& options,
                      const PerturbationOptions& perturbation, const std::string& predictions,
                      const std::string& statistics, bool weights) {
  nlohmann::json key = {{"version", 2},
                        {"model", perturbation.model_checksum},
                        {"predictions", predictions},
                        {"statistics", statistics},
                        {"site", site.name},
                        {"grouping", grouping_name(setting.grouping)},
                        {"bits", setting.activation_bits},
                        {"bounds", static_cast<int>(options.bounds)},
                        {"seed", options.seed},
                        {"candidates", perturbation.candidates},
                        {"anchors", perturbation.anchors}};
  if (!perturbation.activation_bits.empty() || !perturbation.weight_bits.empty())
    key.update({{"activation_bits", perturbation.activation_bits},
                {"weight_bits", perturbation.weight_bits},
                {"choose_groups", perturbation.choose_groups},
                {"groups", options.groups},
                {"integer", options.integer_ratios},
                {"softmax", grouping_name(options.softmax_grouping.value_or(options.grouping))},
                {"qkv", qkv_grouping_name(options.qkv_grouping.value_or(default_qkv_grouping(options.grouping)))},
                {"weight_groups", options.weight_groups},
                {"weights", weights}});
  const std::string text = key.dump();
  return hash_text(hash_bytes(std::as_bytes(std::span(text))));
}

}  // namespace

Perturbations measure_perturbations(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                                    std::int64_t images, const std::function<void(std::int64_t, float*)>& load,
                                    const PerturbationOptions& perturbation,
                                    const std::function<void(const PerturbationProgress&)>& progress) {
  if (images <= 0) fail("allocation needs at least one calibration image");
  if (perturbation.candidates.empty()) fail("allocation needs at least one candidate number of groups");
  const Model& model = runner.model();
  const auto sites = model.sites();
  const kernels::Kernels& kernels = *runner.context().kernels;
  for (const Site& site : sites) attach(site, nullptr, kernels);
  PerturbationCache cache(perturbation.cache);
  Prober prober(runner);
  const std::string predictions = prober.start(images, load);

  const std::vector<SiteShape> shapes = site_shapes(model.config());
  std::vector<Layer> layers = layers_with_choice(shapes, options, perturbation), missing;
  for (Layer& layer : layers) {
    const auto i = static_cast<std::size_t>(layer.site);
    layer.key = cache_key(sites[i], site_setting(shapes[i], options), options, perturbation, predictions,
                          checksum_of(sites[i], layer.site, statistics), layer.weights);
    const SitePerturbation* known = cache.find(layer.key, sites[i].name);
    if (known == nullptr || !same_candidates(known->candidates, layer.candidates)) missing.push_back(layer);
  }

  const auto work_of = [&](const Layer& layer, const GroupCandidate& candidate) {
    return candidate.measured == kToRun ? model.steps() - sites[static_cast<std::size_t>(layer.site)].step : 0;
  };
  double work = 0.0, all_work = 0.0;
  for (const Layer& layer : missing)
    for (const GroupCandidate& candidate : layer.candidates) all_work += work_of(layer, candidate);

  for (std::size_t n = 0; n < missing.size(); ++n) {
    const Layer& layer = missing[n];
    const Site& site = sites[static_cast<std::size_t>(layer.site)];
    prober.advance(site.step);
    std::vector<Trial> trials(layer.candidates.size());
    std::atomic<std::size_t> next{0};
    runner.pool().run([&](int) {  // the largest number of groups takes longest to cluster: first
      for (std::size_t i = next.fetch_add(1); i < trials.size(); i = next.fetch_add(1)) {
        const std::size_t c = trials.size() - 1 - i;
        trials[c] = make_trial(site, layer, statistics, options, layer.candidates[c]);
      }
    });
    SitePerturbation result;
    result.site = site.name;
    if (layer.weights)
      for (Trial& trial : trials) trial.candidate.error = weight_error(site, trial.linear->weight);
    else
      prober.measure_errors(site, layer.site, trials);
    for (Trial& trial : trials) {
      GroupCandidate& candidate = trial.candidate;
      work += work_of(layer, candidate);
      attach(site, &trial, kernels);
      if (candidate.measured == kToRun) candidate.measured = prober.measure_divergence(layer.site);
      candidate.divergence = std::max(candidate.measured, 0.0);
      result.candidates.push_back(candidate);
    }
    attach(site, nullptr, kernels);
    cache.add(layer.key, result);
    if (progress) progress({site.name, static_cast<int>(n) + 1, static_cast<int>(missing.size()), work / all_work});
  }

  std::vector<SitePerturbation> measured;
  for (const Layer& layer : layers)
    measured.push_back(*cache.find(layer.key, sites[static_cast<std::size_t>(layer.site)].name));
  Perturbations perturbations = fitted_perturbations(layers, shapes, std::move(measured), perturbation);
  perturbations.from_cache = static_cast<int>(layers.size() - missing.size());
  perturbations.bytes = prober.bytes();
  return perturbations;
}

/// What is smaller is rounding: a layer on which nothing depends.
static constexpr double kLeastDivergence = 1e-13;

void fit_divergences(std::vector<SitePerturbation>& sites) {
  // Zeros have no logarithm.
  const auto log_divergence = [](const GroupCandidate& c) { return std::log(std::max(c.measured, kLeastDivergence)); };
  const auto log_error = [](const GroupCandidate& c) { return std::log(std::max(c.error, 1e-30)); };
  const auto mean_over_measured = [](const SitePerturbation& site, const auto& value) {
    double sum = 0.0;
    int count = 0;
    for (const GroupCandidate& c : site.candidates)
      if (c.measured >= 0.0) sum += value(c), ++count;
    if (count == 0) fail("allocation: no candidate of '{}' was measured", site.site);
    return sum / count;
  };
  double xx = 0.0, xy = 0.0;
  for (const SitePerturbation& site : sites) {
    const double x0 = mean_over_measured(site, log_error), y0 = mean_over_measured(site, log_divergence);
    for (const GroupCandidate& c : site.candidates) {
      if (c.measured < kLeastDivergence) continue;
      xx += (log_error(c) - x0) * (log_error(c) - x0);
      xy += (log_error(c) - x0) * (log_divergence(c) - y0);
    }
  }
  const double b = xx > 0.0 ? std::clamp(xy / xx, 0.5, 2.0) : 1.0;
  const auto log_factor = [&](const GroupCandidate& c) { return log_divergence(c) - b * log_error(c); };
  for (SitePerturbation& site : sites) {
    const double log_a = mean_over_measured(site, log_factor);
    for (GroupCandidate& c : site.candidates) c.divergence = std::exp(log_a + b * log_error(c));
  }
}

double divergence_of_logits(const float* p, const float* q, std::size_t classes) {
  return divergence(log_softmax(p, classes), log_softmax(q, classes));
}

}  // namespace igq
