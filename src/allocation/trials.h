// What an allocation tries at a layer: numbers of groups or of bits, and the quantizer of each. Which of them are run
// through the network, and how their divergences are measured, is up to perturbation.h and network_perturbation.h.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "allocation/bops.h"
#include "allocation/perturbation.h"

namespace igq {

inline constexpr double kNotRun = -1.0, kToRun = 0.0;  ///< GroupCandidate::measured before the run

/// A layer whose number of groups, or bits, is a choice; or its weights.
struct Layer {
  int site = 0;
  int members = 0;  ///< channels or rows
  bool weights = false;
  std::string key;                         ///< in a cache
  std::vector<GroupCandidate> candidates;  ///< to be tried
};

/// The layers of a network in its order, those whose weights have a choice of bits twice. `shapes` are those of its
/// sites.
std::vector<Layer> layers_with_choice(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                                      const PerturbationOptions& perturbation);

/// One quantizer of a layer that is tried, and what came out.
struct Trial {
  GroupCandidate candidate;
  std::shared_ptr<const LinearPlan> linear;  // one of the two
  std::shared_ptr<const AttentionPlan> attention;

  const ActivationPlan& plan() const { return linear != nullptr ? linear->input : attention->softmax; }
};

/// `given.allocated_bits` is overruled by the candidate's bits. A convolution runs with codes of both operands only:
/// the one that is not tried has 8 bits, its input one quantizer per channel.
Trial make_trial(const Site& site, const Layer& layer, const Statistics& statistics, const QuantizeOptions& given,
                 GroupCandidate candidate);

/// Attaches the trial's plan to the site alone, ready to be simulated; null: none.
void attach(const Site& site, const Trial* trial, const kernels::Kernels& kernels);

/// Squared error of the trial's weights over their square: what their GroupCandidate::error is.
double weight_error(const Site& site, const WeightPlan& plan);

/// The divergences of all layers, in their order, as an allocation takes them: fitted unless every candidate was run.
Perturbations fitted_perturbations(const std::vector<Layer>& layers, std::span<const SiteShape> shapes,
                                   std::vector<SitePerturbation> measured, const PerturbationOptions& perturbation);

}  // namespace igq
