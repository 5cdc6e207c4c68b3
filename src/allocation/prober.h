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
#include "allocation/trials.h"
#include "base/fail.h"
#include "base/hash.h"

namespace igq {

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

/// 1 - cosine of two embeddings: search and zero-shot labels compare directions, so that a change of length costs
/// nothing. As the divergence of predictions it is 0 for equals and grows with the square of small errors. Computed as
/// |p / |p| - q / |q||^2 / 2, which keeps its digits near 0.
inline double direction_divergence(const std::vector<double>& p, const std::vector<double>& q) {
  double pp = 0.0, qq = 0.0, sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    pp += p[i] * p[i];
    qq += q[i] * q[i];
  }
  if (pp <= 0.0 || qq <= 0.0) return pp == qq ? 0.0 : 1.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double d = p[i] / std::sqrt(pp) - q[i] / std::sqrt(qq);
    sum += d * d;
  }
  return sum / 2.0;
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
    outputs_.resize(count);
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
      outputs_[i] = checked_output(w.state);
    });
    step_ = 1;
    Hasher hasher;
    hasher.update(std::as_bytes(std::span(hashes)));
    for (const auto& output : outputs_) hasher.update(std::as_bytes(std::span(output)));
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
    if (site.linear != nullptr) columns = std::make_shared<const std::vector<float>>(column_powers(site));
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
      const std::vector<double> output = checked_output(w.state);
      divergences[i] =
          model_.config().num_classes > 0 ? divergence(outputs_[i], output) : direction_divergence(outputs_[i], output);
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

  /// The logarithm of the softmax of logits; an embedding as it is.
  std::vector<double> checked_output(const StepState& state) const {
    const std::span<const float> output = state.output();
    for (const float v : output)
      if (!std::isfinite(v))
        fail("{}: an output is not finite; are the weights damaged?", model_.config().architecture);
    if (model_.config().num_classes == 0) return {output.begin(), output.end()};
    return log_softmax(output.data(), output.size());
  }

  Runner& runner_;
  const Model& model_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<StepState> states_;  // before step_, by image
  std::vector<std::vector<double>> outputs_;
  int step_ = 1;
};

}  // namespace igq
