#include "detectors/detector_runner.h"

#include <atomic>
#include <cassert>

namespace igq {

Orientation picture_orientation(const Detector& detector) {
  return detector.applies_orientation() ? Orientation::kExif : Orientation::kIgnore;
}

DetectorRunner::DetectorRunner(Detector& detector, Execution execution, Isa isa, int threads)
    : detector_(detector), pool_(threads) {
  context_.kernels = &kernels::kernels_for(isa);
  context_.pool = &pool_;
  prepare(execution);
  state_ = detector.make_state();
}

void DetectorRunner::prepare(Execution execution) {
  context_.execution = execution;
  detector_.prepare(execution, *context_.kernels);
}

std::vector<Detection> DetectorRunner::detect(const Image& image, float threshold) {
  return detector_.detect(context_, image, threshold, *state_);
}

std::vector<Detection> DetectorRunner::watch(const Image& image, float threshold, SiteObserver& observer) {
  const struct Watching {  // an Error leaves no observer behind
    ExecContext& context;
    ~Watching() { context.observer = nullptr; }
  } watching{context_};
  context_.observer = &observer;
  return detect(image, threshold);
}

void DetectorRunner::detect_each(std::int64_t count, float threshold, const std::function<Image(std::int64_t)>& load,
                                 const std::function<void(std::int64_t, std::vector<Detection>)>& sink) {
  if (pool_.size() == 1 || count < pool_.size()) {
    for (std::int64_t i = 0; i < count; ++i) sink(i, detect(load(i), threshold));
    return;
  }
  workers_.resize(static_cast<std::size_t>(pool_.size()));
  for (Worker& worker : workers_) {
    worker.context.kernels = context_.kernels;
    worker.context.execution = context_.execution;
    if (worker.state == nullptr) worker.state = detector_.make_state();
  }
  std::atomic<std::int64_t> next{0};
  pool_.run([&](int t) {
    Worker& worker = workers_[static_cast<std::size_t>(t)];
    for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1))
      sink(i, detector_.detect(worker.context, load(i), threshold, *worker.state));
  });
}

double DetectorRunner::divergence_of(int site) {
  assert(execution() == Execution::kFloat);
  const struct Trying {
    ExecContext& context;
    ~Trying() { context.site_execution.clear(); }
  } trying{context_};
  context_.site_execution.assign(detector_.sites().size(), Execution::kFloat);
  context_.site_execution[static_cast<std::size_t>(site)] = Execution::kSimulate;
  if (trial_ == nullptr) trial_ = detector_.make_state();
  return detector_.divergence(context_, site, *state_, *trial_);
}

}  // namespace igq
