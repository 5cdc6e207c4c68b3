// How much the number of groups of one layer changes the predictions (docs/method.md, section 6):
//
//   Psi_L(g) = KL( p_float || p_only-layer-L's-activations-quantized-with-g-groups ), averaged over calibration images.
//
// The float activations before a layer's step are kept for every image and moved forward step by step, so only the rest
// of the network runs again: half a forward pass per layer, candidate and image. By default that is done for two
// candidates, the anchors, and all follow from the error e(g) that the quantizer makes at the layer itself
// (site_error.h, one float pass for all candidates). Small errors in similar directions change predictions by a power
// of their size:
//
//   Psi_L(g) = a_L e_L(g)^b     least squares of log Psi over the anchors of all layers: one b, and one a per layer.
//
// This is five times faster, and better: a mean over 32 images is the work of the few that lie near a decision, so
// measured candidates jump by factors of 3 to 10 and the knapsack collects the lucky ones. On the ViT-S/14 for CIFAR-10
// (w4a4, 32 calibration images, candidates 1, 4, 8, 16, 32) the sum of Psi over the layers, measured on 48 other
// images:
//
//   average groups     uniform     all candidates measured     anchors 1 and 8, fitted
//   4                  0.104       0.115                       0.105
//   8                  0.0520      0.0545                      0.0486
//   16                 0.0271      0.0327                      0.0291
//
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "calibration/calibrate.h"
#include "models/runner.h"

namespace igq {

/// Of docs/method.md, section 6.
inline const std::vector<int> kGroupCandidates = {1, 2, 4, 6, 8, 10, 12, 16, 24, 32};
/// Bits that an allocation of bits chooses from, for weights and for activations.
inline const std::vector<int> kBitCandidates = {2, 3, 4, 6, 8};

struct PerturbationOptions {
  std::vector<int> candidates = kGroupCandidates;
  /// Candidates (the nearest ones) that are run through the network; the divergence of every candidate follows from the
  /// fit. Empty: all are run and each keeps the divergence that was measured, as docs/method.md says.
  std::vector<int> anchors = {1, 8};
  /// Not empty: bits of the activations, and of the weights, are the choice, at every site whose bits are
  /// (has_bit_choice). 3 and 6 bits are the anchors then; with `choose_groups` each number of bits is tried with every
  /// candidate above.
  std::vector<int> activation_bits, weight_bits;
  bool choose_groups = false;
  bool of_bits() const { return !activation_bits.empty() || !weight_bits.empty(); }
  /// File that keeps finished layers, so that an interrupted run goes on where it was; empty: none. One file can serve
  /// several models and settings.
  std::filesystem::path cache;
  /// Identifies the weights in the cache: checkpoint_checksum(). Only needed with a cache.
  std::string model_checksum;
};

struct GroupCandidate {
  int groups = 1;
  double divergence = 0.0;  ///< Psi as the allocation takes it, nats per image: fitted, or measured when all are
  double error = 0.0;       ///< e of site_error.h, mean over images
  double measured = -1.0;   ///< Psi from runs of the network; negative: not run
  int bits = 0;             ///< of the site's activations, or of its weights; 0: those of the options
  bool operator==(const GroupCandidate&) const = default;
};

/// One layer: an FC input site or one softmax site. Candidates ascending in groups, no more than the layer has members.
struct SitePerturbation {
  std::string site;
  std::vector<GroupCandidate> candidates;
  bool operator==(const SitePerturbation&) const = default;
};

struct Perturbations {
  std::vector<SitePerturbation> sites;    ///< every site whose number of groups is a choice, in the order of the model
  std::vector<SitePerturbation> weights;  ///< with weight_bits: of the FC layers' weights, all else in float
  int from_cache = 0;                     ///< how many of them all
  std::size_t bytes = 0;                  ///< of activations kept
};

struct PerturbationProgress {
  std::string site;  ///< the layer just finished
  int done = 0, total = 0;
  double fraction = 0.0;  ///< of the work
};

/// `runner` holds a float model; its sites' plans are lost. `load(i, image)` fills normalised image i and is called
/// once per image, from several threads. Results do not depend on threads, instruction set, cache or interruption.
/// Error when an output is not finite and when the cache cannot be read or written.
Perturbations measure_perturbations(Runner& runner, const Statistics& statistics, const QuantizeOptions& options,
                                    std::int64_t images, const std::function<void(std::int64_t, float*)>& load,
                                    const PerturbationOptions& perturbation = {},
                                    const std::function<void(const PerturbationProgress&)>& progress = {});

/// Fits Psi = a e^b to what was measured (at least one candidate per layer) and sets the divergence of every candidate.
/// b is kept within [0.5, 2], and is 1 when no layer has two measured candidates.
void fit_divergences(std::vector<SitePerturbation>& sites);

/// KL( softmax(p) || softmax(q) ) of two rows of logits, in nats, computed in double; never negative.
double divergence_of_logits(const float* p, const float* q, std::size_t classes);

}  // namespace igq
