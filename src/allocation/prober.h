// Runs of a float model with one site quantized, from the float activations kept before that site's step: what
// measure_perturbations() is made of.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "allocation/perturbation.h"
#include "allocation/site_error.h"
#include "base/fail.h"
#include "base/hash.h"

namespace igq {

/// One quantizer of a layer that is tried, and what came out.
struct Trial {
  GroupCandidate candidate;
  std::shared_ptr<const LinearPlan> linear;  // one of the two
  std::shared_ptr<const AttentionPlan> attention;

  const ActivationPlan& plan() const { return linear != nullptr ? linear->input : attention->softmax; }
};

inline std::vector<double> log_softmax(const float* logits, std::size_t classes) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0.0;
  for (std::size_t i = 0; i < classes; ++i) sum += std::exp(logits[i] - largest);
  std::vector<double> result(classes);
  for (std::size_t i = 0; i < classes; ++i) result[i] = logits[i] - largest - std::log(sum);
  return result;
}

inline double divergence(const std::vector<double>& log_p, const std::vector<double>& log_q) {
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

}  // namespace igq
