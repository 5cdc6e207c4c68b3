// A detector with threads, kernels and scratch, ready to look at pictures.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "detectors/detector.h"

namespace igq {

/// Whether the detector's pictures are turned upright as they are read.
Orientation picture_orientation(const Detector& detector);

class DetectorRunner {
 public:
  /// Prepares the detector, which must outlive the runner. threads 0: one per processor.
  DetectorRunner(Detector& detector, Execution execution, Isa isa = best_isa(), int threads = 0);

  const Detector& detector() const { return detector_; }
  ThreadPool& pool() { return pool_; }
  ExecContext& context() { return context_; }
  const kernels::Kernels& kernels() const { return *context_.kernels; }
  Execution execution() const { return context_.execution; }
  /// Runs another way from now on; also to be called after the detector's plan was changed.
  void prepare(Execution execution);
  /// The objects of a picture with score > threshold, best first. One call at a time.
  std::vector<Detection> detect(const Image& image, float threshold);
  /// The same while `observer` looks on.
  std::vector<Detection> watch(const Image& image, float threshold, SiteObserver& observer);
  /// Pictures 0 to count - 1, a whole one on each thread: load(i) gives a picture and sink(i, objects) takes what
  /// detect() would give, on whichever thread has it. Every thread holds what a pass needs. Exceptions of either end
  /// the run and are rethrown.
  void detect_each(std::int64_t count, float threshold, const std::function<Image(std::int64_t)>& load,
                   const std::function<void(std::int64_t, std::vector<Detection>)>& sink);
  /// The divergence from what the last detect() or watch(), in float, gave (Detector::divergence) when `site` alone is
  /// simulated under the plan attached to it.
  double divergence_of(int site);

 private:
  Detector& detector_;
  ThreadPool pool_;
  ExecContext context_;
  std::unique_ptr<Detector::State> state_, trial_;
  /// What a thread needs for pictures of its own.
  struct Worker {
    ExecContext context;
    std::unique_ptr<Detector::State> state;
  };
  std::vector<Worker> workers_;  // none before detect_each()
};

}  // namespace igq
