#include "allocation/perturbation.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <memory>

#include "base/json.h"
#include "allocation/bops.h"
#include "allocation/perturbation_cache.h"
#include "allocation/prober.h"
#include "base/fail.h"
#include "base/hash.h"
#include "quant/weight_groups.h"
#include "quant/weights.h"

namespace igq {
namespace {

/// A layer whose number of groups, or bits, is a choice; or its weights.
struct Layer {
  int site = 0;
  int members = 0;  // channels or rows
  bool weights = false;
  std::string key;                         // in the cache
  std::vector<GroupCandidate> candidates;  // to be tried
};

constexpr double kNotRun = -1.0, kToRun = 0.0;  // GroupCandidate::measured before the run
constexpr std::array kBitAnchors{3, 6};

std::vector<GroupCandidate> candidates_of(const Layer& layer, const PerturbationOptions& options) {
  std::vector<GroupCandidate> result;
  std::vector<int> groups = options.candidates;
  for (int& g : groups) g = std::clamp(g, 1, layer.members);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  for (const int g : groups) result.push_back({g, 0.0, 0.0, options.anchors.empty() ? kToRun : kNotRun});
  for (const int anchor : options.anchors) {
    const auto distance = [&](const GroupCandidate& c) { return std::abs(c.groups - anchor); };
    const auto nearer = [&](const auto& a, const auto& b) { return distance(a) < distance(b); };
    std::min_element(result.begin(), result.end(), nearer)->measured = kToRun;
  }
  return result;
}

/// Of bits, each with every number of groups that is a choice there. The softmax, whose queries, keys and values change
/// their bits too, has no error at the site that would stand for all of them: each is run.
std::vector<GroupCandidate> bit_candidates_of(const Layer& layer, const SiteShape& shape,
                                              const QuantizeOptions& options, const PerturbationOptions& perturbation) {
  std::vector<GroupCandidate> result;
  const bool run_all = perturbation.anchors.empty() || (shape.attention && !layer.weights);
  for (const int bits : layer.weights ? perturbation.weight_bits : perturbation.activation_bits) {
    QuantizeOptions at_bits = options;
    at_bits.allocated_bits[shape.name] = {bits, bits};
    const bool anchor = std::find(kBitAnchors.begin(), kBitAnchors.end(), bits) != kBitAnchors.end();
    Layer plain = layer;
    std::vector<GroupCandidate> groups{{options.groups}};
    if (!layer.weights && perturbation.choose_groups && has_group_choice(shape, at_bits))
      groups = candidates_of(plain, perturbation);
    for (GroupCandidate c : groups) {
      c.bits = bits;
      const bool middle = groups.size() == 1 || c.groups == options.groups;
      c.measured = run_all || (anchor && middle) ? kToRun : kNotRun;
      result.push_back(c);
    }
  }
  return result;
}

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

/// Rounded to nearest: second-order rounding, which comes later, gains about as much at every number of bits.
WeightPlan trial_weights(const Linear& linear, const QuantizeOptions& options, int bits) {
  const AlignedBuffer<float> weight = linear.weight();
  const int in = linear.in_features(), out = linear.out_features(),
            group_size = effective_group_size(options.weight_groups, bits, in);
  return group_size == 0 ? quantize_weights(weight, in, out, bits, options.weight_quantile)
                         : quantize_grouped_weights(weight, in, out, bits, group_size, options.clipping);
}

/// Squared error of the weights over their square.
double weight_error(const Linear& linear, const WeightPlan& plan) {
  const AlignedBuffer<float> weight = linear.weight();
  const auto in = static_cast<std::size_t>(linear.in_features()), out = static_cast<std::size_t>(linear.out_features());
  const int offset = 1 << (plan.code_bits() - 1);
  double noise = 0.0, power = 0.0;
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i) {
      const auto w = static_cast<double>(weight[o * in + i]);
      const double w_hat = static_cast<double>(plan.scale[o]) * (plan.codes[i * out + o] + offset - plan.zero_point[o]);
      noise += (w - w_hat) * (w - w_hat);
      power += w * w;
    }
  return power > 0.0 ? noise / power : 0.0;
}

Trial make_trial(const Site& site, const Layer& layer, const Statistics& statistics, const QuantizeOptions& given,
                 GroupCandidate candidate) {
  Trial trial;
  trial.candidate = candidate;
  QuantizeOptions options = given;
  if (candidate.bits != 0) options.allocated_bits[site.name] = {candidate.bits, candidate.bits};
  if (site.linear != nullptr) {
    auto plan = std::make_shared<LinearPlan>();  // without weight codes: only the input is quantized
    if (layer.weights)
      plan->weight = trial_weights(*site.linear, options, candidate.bits);
    else
      plan->input = plan_input(site, statistics.linear(layer.site), options, candidate.groups);
    trial.linear = std::move(plan);
  } else {
    auto plan = std::make_shared<AttentionPlan>(
        plan_attention(site, statistics.attention(layer.site), options, candidate.groups));
    if (candidate.bits == 0) plan->qkv = {};  // the softmax alone
    trial.attention = std::move(plan);
  }
  return trial;
}

void attach(const Site& site, const Trial* trial, const kernels::Kernels& kernels) {
  if (site.linear != nullptr) {
    site.linear->set_plan(trial == nullptr ? nullptr : trial->linear);
    if (trial != nullptr) site.linear->prepare(Execution::kSimulate, kernels);
  } else {
    site.attention->set_plan(trial == nullptr ? nullptr : trial->attention);
  }
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
  const bool of_bits = !perturbation.activation_bits.empty() || !perturbation.weight_bits.empty();
  std::vector<Layer> layers, missing;
  const auto add = [&](std::size_t i, bool weights) {
    Layer layer{
        static_cast<int>(i), static_cast<int>(shapes[i].attention ? shapes[i].tokens : shapes[i].in), weights, {}, {}};
    layer.key = cache_key(sites[i], site_setting(shapes[i], options), options, perturbation, predictions,
                          checksum_of(sites[i], layer.site, statistics), weights);
    layer.candidates =
        of_bits ? bit_candidates_of(layer, shapes[i], options, perturbation) : candidates_of(layer, perturbation);
    const SitePerturbation* known = cache.find(layer.key, sites[i].name);
    if (known == nullptr || !same_candidates(known->candidates, layer.candidates)) missing.push_back(layer);
    layers.push_back(std::move(layer));
  };
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!of_bits && has_group_choice(shapes[i], options)) add(i, false);
    if (!of_bits || !has_bit_choice(shapes[i], options)) continue;
    if (!perturbation.activation_bits.empty()) add(i, false);
    if (!perturbation.weight_bits.empty() && !shapes[i].attention) add(i, true);
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
      for (Trial& trial : trials) trial.candidate.error = weight_error(*site.linear, trial.linear->weight);
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

  Perturbations perturbations;
  std::vector<SitePerturbation> measured;  // of the softmax, all of whose bits were run
  for (const Layer& layer : layers) {
    const auto i = static_cast<std::size_t>(layer.site);
    auto& list = layer.weights                    ? perturbations.weights
                 : of_bits && shapes[i].attention ? measured
                                                  : perturbations.sites;
    list.push_back(*cache.find(layer.key, sites[i].name));
  }
  if (!perturbation.anchors.empty()) {
    fit_divergences(perturbations.sites);
    fit_divergences(perturbations.weights);
  }
  perturbations.sites.insert(perturbations.sites.end(), measured.begin(), measured.end());
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
