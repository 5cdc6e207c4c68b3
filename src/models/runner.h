// Runs a model over many images: several images at once when there are enough of them for every thread, one image
// split over the threads otherwise. Results do not depend on which.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "models/model.h"

namespace igq {

/// What a runner hands out of an image: StepState::output(), the pooled vector (of classifiers too), or every token.
enum class ModelOutput { kMain, kEmbedding, kTokens };

class Runner {
 public:
  /// Prepares the model for `execution`. threads 0: one per processor. The model must outlive the runner.
  Runner(Model& model, Execution execution, Isa isa = best_isa(), int threads = 0,
         ModelOutput output = ModelOutput::kMain);

  const Model& model() const { return model_; }
  int threads() const { return pool_.size(); }
  Isa isa() const { return isa_; }
  ThreadPool& pool() { return pool_; }
  /// The context of passes that use all threads for one image; callers may set an observer, a profile or sites.
  ExecContext& context() { return shared_; }

  /// One normalised image [3, H, W] on all threads; its output ("logits" below stands for it) stays valid until the
  /// next call: [num_classes], [embedding_width] or [tokens, channels].
  std::span<const float> run(const float* image);
  /// `count` normalised images, one after the other in memory; logits [count, values of an output].
  void run_batch(const float* images, std::int64_t count, float* logits);
  /// load(i, image) fills image i (false: skip it) and sink(i, logits) takes its result, on whichever thread runs it,
  /// at most one image per thread at a time. Exceptions of either end the run and are rethrown.
  void run_each(std::int64_t count, const std::function<bool(std::int64_t, float*)>& load,
                const std::function<void(std::int64_t, std::span<const float>)>& sink);
  /// Bytes of activations and scratch held between images.
  std::size_t scratch_bytes() const;

 private:
  struct Worker {
    ExecContext context;
    StepState state;
    AlignedBuffer<float> image;
  };
  Worker& worker(int t);
  std::span<const float> output_of(const StepState& state) const;

  Model& model_;
  Isa isa_;
  Execution execution_;
  ModelOutput output_;
  ThreadPool pool_;
  ExecContext shared_;
  StepState shared_state_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace igq
