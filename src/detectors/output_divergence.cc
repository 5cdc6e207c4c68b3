#include "detectors/output_divergence.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

namespace igq {
namespace {

/// The logarithms of the softmax, in double.
void log_softmax(std::span<const float> logits, std::vector<double>& result) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float v : logits) sum += std::exp(v - largest);
  const double log_sum = largest + std::log(sum);
  result.resize(logits.size());
  for (std::size_t c = 0; c < logits.size(); ++c) result[c] = logits[c] - log_sum;
}

/// log(1 / (1 + exp(-x))) without overflow.
double log_sigmoid(double x) { return x < 0.0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

/// KL of two answers of yes or no.
double binary_divergence(double p_logit, double q_logit) {
  const double log_p = log_sigmoid(p_logit), log_not_p = log_sigmoid(-p_logit);
  const double sum =
      std::exp(log_p) * (log_p - log_sigmoid(q_logit)) + std::exp(log_not_p) * (log_not_p - log_sigmoid(-q_logit));
  return std::max(sum, 0.0);
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - b[i];
    sum += d * d;
  }
  return sum;
}

}  // namespace

void OutputDivergence::add_classes(std::span<const float> float_logits, std::span<const float> logits,
                                   std::size_t classes, std::span<const float> float_deltas,
                                   std::span<const float> deltas) {
  const std::size_t regions = float_logits.size() / classes;
  if (regions == 0) return;
  const std::size_t boxes = float_deltas.size() / regions / 4;
  assert(logits.size() == float_logits.size() && deltas.size() == float_deltas.size());
  assert(boxes == 1 || boxes == classes - 1);
  std::vector<double> log_p, log_q;
  for (std::size_t i = 0; i < regions; ++i) {
    log_softmax(float_logits.subspan(i * classes, classes), log_p);
    log_softmax(logits.subspan(i * classes, classes), log_q);
    double divergence = 0.0;
    for (std::size_t c = 0; c < classes; ++c) divergence += std::exp(log_p[c]) * (log_p[c] - log_q[c]);
    loss_ += std::max(divergence, 0.0);
    const double object = 1.0 - std::exp(log_p.back());
    objects_ += object;
    for (std::size_t b = 0; b < boxes; ++b) {
      const std::size_t at = (i * boxes + b) * 4;
      const double weight = boxes == 1 ? object : std::exp(log_p[b]);
      loss_ += weight * squared_distance(float_deltas.subspan(at, 4), deltas.subspan(at, 4)) / 2.0;
    }
  }
}

void OutputDivergence::add_objectness(std::span<const float> float_logits, std::span<const float> logits,
                                      std::span<const float> float_deltas, std::span<const float> deltas) {
  assert(logits.size() == float_logits.size() && deltas.size() == float_deltas.size());
  assert(float_deltas.size() == 4 * float_logits.size());
  for (std::size_t i = 0; i < float_logits.size(); ++i) {
    loss_ += binary_divergence(float_logits[i], logits[i]);
    const double object = std::exp(log_sigmoid(float_logits[i]));
    objects_ += object;
    loss_ += object * squared_distance(float_deltas.subspan(4 * i, 4), deltas.subspan(4 * i, 4)) / 2.0;
  }
}

void OutputDivergence::add_masks(std::span<const float> float_logits, std::span<const float> logits) {
  assert(logits.size() == float_logits.size());
  for (std::size_t i = 0; i < float_logits.size(); ++i) loss_ += binary_divergence(float_logits[i], logits[i]);
  objects_ += static_cast<double>(float_logits.size());
}

void OutputDivergence::end_stage() {
  total_ += loss_ / std::max(objects_, 1.0);
  loss_ = objects_ = 0.0;
}

}  // namespace igq
