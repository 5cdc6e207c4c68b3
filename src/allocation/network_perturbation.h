// What the allocation needs of a network whose passes cannot be resumed in the middle, a detector: every candidate of
// every layer is one whole pass with that layer alone quantized. Pictures come one after the other, all trials run on
// each, so that one picture's float pass is in memory and not those of all.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "allocation/bops.h"
#include "allocation/perturbation.h"
#include "calibration/passes.h"

namespace igq {

/// A network whose outputs are compared with those of its float pass, picture by picture.
struct OutputProbe {
  CalibrationPasses passes;  ///< run(i, observer) is also what the outputs are compared with from then on
  /// The divergence of the outputs, in nats, when `site` alone is simulated under the plan attached to it.
  std::function<double(int site)> divergence;
};

/// The shapes of a network's sites as the pictures have them.
class ShapeObserver final : public SiteObserver {
 public:
  explicit ShapeObserver(const Network& network);
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int rows, int cols) override;
  /// After passes of so many images: means, rounded, of rows and maps; of the largest map its tokens and keys. A site
  /// that no picture reached has no rows, and as first_or_last no choice.
  std::vector<SiteShape> means(std::int64_t images) const;

 private:
  std::vector<SiteShape> shapes_;  // sums
};
/// From a pass of every image.
std::vector<SiteShape> observed_shapes(const CalibrationPasses& passes);

/// As measure_perturbations() of perturbation.h, without a cache. The plans of the network's sites are lost; run it
/// prepared for float. progress(done) counts passes, of trial_passes(). Error when a divergence is not finite.
Perturbations measure_perturbations(const OutputProbe& probe, std::span<const SiteShape> shapes,
                                    const Statistics& statistics, const QuantizeOptions& options,
                                    const PerturbationOptions& perturbation,
                                    const std::function<void(std::int64_t)>& progress = {});
/// How many passes that takes.
std::int64_t trial_passes(std::int64_t images, std::span<const SiteShape> shapes, const QuantizeOptions& options,
                          const PerturbationOptions& perturbation);

}  // namespace igq
