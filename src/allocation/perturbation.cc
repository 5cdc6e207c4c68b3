#include "allocation/perturbation.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "allocation/bops.h"
#include "allocation/perturbation_cache.h"
#include "allocation/site_error.h"
#include "base/fail.h"
#include "base/hash.h"

namespace igq {
namespace {

/// One quantizer of a layer that is tried, and what came out.
struct Trial {
  GroupCandidate candidate;
  std::shared_ptr<const LinearPlan> linear;  // one of the two
  std::shared_ptr<const AttentionPlan> attention;

  const ActivationPlan& plan() const { return linear != nullptr ? linear->input : attention->softmax; }
};

std::vector<double> log_softmax(const float* logits, std::size_t classes) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0.0;
  for (std::size_t i = 0; i < classes; ++i) sum += std::exp(logits[i] - largest);
  std::vector<double> result(classes);
  for (std::size_t i = 0; i < classes; ++i) result[i] = logits[i] - largest - std::log(sum);
  return result;
}

double divergence(const std::vector<double>& log_p, const std::vector<double>& log_q) {
  double sum = 0.0;
  for (std::size_t i = 0; i < log_p.size(); ++i) sum += std::exp(log_p[i]) * (log_p[i] - log_q[i]);
  return std::max(sum, 0.0);
}

/// The model's float activations at one step for every image, and runs of the rest of the network from there.
class Prober {
 public:
  explicit Prober(Runner& runner) : runner_(runner), model_(runner.model()) {
    for (int t = 0; t < runner.threads(); ++t) {
      auto worker = std::make_unique<Worker>();
      worker->context.kernels = runner.context().kernels;
      worker->context.site_execution.assign(model_.sites().size(), Execution::kFloat);
      workers_.push_back(std::move(worker));
    }
  }

  /// Loads the images and runs them in float; the checksum of images and predictions.
  std::string start(std::int64_t images, const std::function<void(std::int64_t, float*)>& load) {
    const auto count = static_cast<std::size_t>(images);
    states_.resize(count);
    log_p_.resize(count);
    std::vector<std::uint64_t> hashes(count);
    each_image([&](Worker& w, std::size_t i) {
      w.image.resize(static_cast<std::size_t>(model_.image_floats()));
      load(static_cast<std::int64_t>(i), w.image.data());
      hashes[i] = hash_bytes(std::as_bytes(std::span(w.image.data(), w.image.size())));
      states_[i].image = w.image.data();
      model_.run_step(w.context, 0, states_[i]);
      states_[i].image = nullptr;
      copy_state(states_[i], w.state);
      for (int step = 1; step < model_.steps(); ++step) model_.run_step(w.context, step, w.state);
      log_p_[i] = checked_log_softmax(w.state);
    });
    step_ = 1;
    Hasher hasher;
    hasher.update(std::as_bytes(std::span(hashes)));
    for (const auto& log_p : log_p_) hasher.update(std::as_bytes(std::span(log_p)));
    return hash_text(hasher.digest());
  }

  /// Moves the float activations on to where `step` begins.
  void advance(int step) {
    for (; step_ < step; ++step_)
      each_image([&](Worker& w, std::size_t i) { model_.run_step(w.context, step_, states_[i]); });
  }

  /// The error of every trial's quantizer at the site itself.
  void measure_errors(const Site& site, int id, std::vector<Trial>& trials) {
    std::vector<const ActivationPlan*> plans;
    for (const Trial& trial : trials) plans.push_back(&trial.plan());
    std::shared_ptr<const std::vector<float>> columns;
    if (site.linear != nullptr) columns = std::make_shared<const std::vector<float>>(column_powers(*site.linear));
    std::vector<std::vector<double>> errors(states_.size());
    for (auto& w : workers_) w->errors = std::make_unique<SiteErrors>(id, plans, columns, *w->context.kernels);
    each_image([&](Worker& w, std::size_t i) {
      copy_state(states_[i], w.state);
      w.context.observer = w.errors.get();
      model_.run_step(w.context, step_, w.state);
      w.context.observer = nullptr;
      errors[i] = w.errors->take();
    });
    for (std::size_t g = 0; g < trials.size(); ++g) {
      double sum = 0.0;
      for (const auto& of_image : errors) sum += of_image[g];
      trials[g].candidate.error = sum / static_cast<double>(errors.size());
    }
  }

  /// The divergence when the site is simulated under the plan attached to it.
  double measure_divergence(int site) {
    std::vector<double> divergences(states_.size());
    each_image([&](Worker& w, std::size_t i) {
      copy_state(states_[i], w.state);
      Execution& execution = w.context.site_execution[static_cast<std::size_t>(site)];
      execution = Execution::kSimulate;
      model_.run_step(w.context, step_, w.state);
      execution = Execution::kFloat;
      for (int step = step_ + 1; step < model_.steps(); ++step) model_.run_step(w.context, step, w.state);
      divergences[i] = divergence(log_p_[i], checked_log_softmax(w.state));
    });
    double sum = 0.0;
    for (const double d : divergences) sum += d;
    return sum / static_cast<double>(divergences.size());
  }

  std::size_t bytes() const {
    std::size_t total = 0;
    for (const StepState& s : states_) total += s.x.size() * sizeof(float);
    for (const auto& w : workers_)
      total += w->context.arena.capacity() + (w->state.x.size() + w->image.size()) * sizeof(float);
    return total;
  }

 private:
  struct Worker {
    ExecContext context;
    StepState state;
    AlignedBuffer<float> image;
    std::unique_ptr<SiteErrors> errors;
  };

  template <typename Body>
  void each_image(Body&& body) {
    std::atomic<std::size_t> next{0};
    runner_.pool().run([&](int t) {
      Worker& w = *workers_[static_cast<std::size_t>(t)];
      for (std::size_t i = next.fetch_add(1); i < states_.size(); i = next.fetch_add(1)) {
        w.context.arena.reset();
        body(w, i);
      }
    });
  }

  static void copy_state(const StepState& from, StepState& to) {
    to.x = from.x;
    to.tokens = from.tokens;
    to.channels = from.channels;
    to.height = from.height;
    to.width = from.width;
  }

  std::vector<double> checked_log_softmax(const StepState& state) const {
    for (const float v : state.logits)
      if (!std::isfinite(v))
        fail("{}: an output is not finite; are the weights damaged?", model_.config().architecture);
    return log_softmax(state.logits.data(), state.logits.size());
  }

  Runner& runner_;
  const Model& model_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<StepState> states_;  // before step_, by image
  std::vector<std::vector<double>> log_p_;
  int step_ = 1;
};

/// A layer whose number of groups is a choice.
struct Layer {
  int site = 0;
  int members = 0;  // channels or rows
  std::string key;  // in the cache
};

constexpr double kNotRun = -1.0, kToRun = 0.0;  // GroupCandidate::measured before the run

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
                      const std::string& statistics) {
  const nlohmann::json key = {{"version", 2},
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
  const std::string text = key.dump();
  return hash_text(hash_bytes(std::as_bytes(std::span(text))));
}

Trial make_trial(const Site& site, int id, const Statistics& statistics, const QuantizeOptions& options,
                 GroupCandidate candidate) {
  Trial trial;
  trial.candidate = candidate;
  if (site.linear != nullptr) {
    auto plan = std::make_shared<LinearPlan>();  // without weight codes: only the input is quantized
    plan->input = plan_input(site, statistics.linear(id), options, candidate.groups);
    trial.linear = std::move(plan);
  } else {
    auto plan = std::make_shared<AttentionPlan>();  // the softmax alone
    plan->softmax = plan_attention(site, statistics.attention(id), options, candidate.groups).softmax;
    trial.attention = std::move(plan);
  }
  return trial;
}

void attach(const Site& site, const Trial* trial) {
  if (site.linear != nullptr)
    site.linear->set_plan(trial == nullptr ? nullptr : trial->linear);
  else
    site.attention->set_plan(trial == nullptr ? nullptr : trial->attention);
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
  for (const Site& site : sites) attach(site, nullptr);
  PerturbationCache cache(perturbation.cache);
  Prober prober(runner);
  const std::string predictions = prober.start(images, load);

  const std::vector<SiteShape> shapes = site_shapes(model.config());
  std::vector<Layer> layers, missing;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!has_group_choice(shapes[i], options)) continue;
    Layer layer{static_cast<int>(i), static_cast<int>(shapes[i].attention ? shapes[i].tokens : shapes[i].in), {}};
    layer.key = cache_key(sites[i], site_setting(shapes[i], options), options, perturbation, predictions,
                          checksum_of(sites[i], layer.site, statistics));
    layers.push_back(layer);
    if (cache.find(layer.key, sites[i].name) == nullptr) missing.push_back(std::move(layer));
  }

  const auto work_of = [&](const Layer& layer, const GroupCandidate& candidate) {
    return candidate.measured == kToRun ? model.steps() - sites[static_cast<std::size_t>(layer.site)].step : 0;
  };
  double work = 0.0, all_work = 0.0;
  for (const Layer& layer : missing)
    for (const GroupCandidate& candidate : candidates_of(layer, perturbation)) all_work += work_of(layer, candidate);

  for (std::size_t n = 0; n < missing.size(); ++n) {
    const Layer& layer = missing[n];
    const Site& site = sites[static_cast<std::size_t>(layer.site)];
    prober.advance(site.step);
    const std::vector<GroupCandidate> candidates = candidates_of(layer, perturbation);
    std::vector<Trial> trials(candidates.size());
    std::atomic<std::size_t> next{0};
    runner.pool().run([&](int) {  // the largest number of groups takes longest to cluster: first
      for (std::size_t i = next.fetch_add(1); i < trials.size(); i = next.fetch_add(1)) {
        const std::size_t c = trials.size() - 1 - i;
        trials[c] = make_trial(site, layer.site, statistics, options, candidates[c]);
      }
    });
    SitePerturbation result;
    result.site = site.name;
    prober.measure_errors(site, layer.site, trials);
    for (Trial& trial : trials) {
      GroupCandidate& candidate = trial.candidate;
      work += work_of(layer, candidate);
      attach(site, &trial);
      if (candidate.measured == kToRun) candidate.measured = prober.measure_divergence(layer.site);
      candidate.divergence = std::max(candidate.measured, 0.0);
      result.candidates.push_back(candidate);
    }
    attach(site, nullptr);
    cache.add(layer.key, result);
    if (progress) progress({site.name, static_cast<int>(n) + 1, static_cast<int>(missing.size()), work / all_work});
  }

  Perturbations perturbations;
  for (const Layer& layer : layers)
    perturbations.sites.push_back(*cache.find(layer.key, sites[static_cast<std::size_t>(layer.site)].name));
  if (!perturbation.anchors.empty()) fit_divergences(perturbations.sites);
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
