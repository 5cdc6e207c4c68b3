#include "models/runner.h"

#include <algorithm>

namespace igq {

Runner::Runner(Model& model, Execution execution, Isa isa, int threads, ModelOutput output)
    : model_(model), isa_(isa), execution_(execution), output_(output), pool_(threads) {
  const kernels::Kernels& kernels = kernels::kernels_for(isa);
  model_.prepare(execution, kernels);
  shared_.kernels = &kernels;
  shared_.pool = &pool_;
  shared_.execution = execution;
  shared_.logits_only = output != ModelOutput::kTokens;
  workers_.resize(static_cast<std::size_t>(pool_.size()));
}

std::span<const float> Runner::run(const float* image) {
  // Shares of a loop cost a little even where nobody takes them.
  shared_.pool = pool_.shares_short_loops() ? &pool_ : nullptr;
  model_.forward(shared_, image, shared_state_);
  return output_of(shared_state_);
}

std::span<const float> Runner::output_of(const StepState& state) const {
  if (output_ == ModelOutput::kTokens) return state.x;
  return output_ == ModelOutput::kEmbedding ? std::span<const float>(state.embedding) : state.output();
}

Runner::Worker& Runner::worker(int t) {
  auto& slot = workers_[static_cast<std::size_t>(t)];
  if (slot == nullptr) {
    slot = std::make_unique<Worker>();
    slot->context.kernels = shared_.kernels;
    slot->context.execution = execution_;
    slot->context.logits_only = shared_.logits_only;
  }
  slot->context.site_execution = shared_.site_execution;
  return *slot;
}

void Runner::run_batch(const float* images, std::int64_t count, float* logits) {
  const std::int64_t floats = model_.image_floats();
  const std::int64_t together = pool_.size() == 1 ? 0 : count / pool_.size() * pool_.size();
  if (together > 0) {
    for (int t = 0; t < pool_.size(); ++t) worker(t);
    pool_.run([&](int t) {
      Worker& w = *workers_[static_cast<std::size_t>(t)];
      const std::int64_t each = together / pool_.size();
      for (std::int64_t i = t * each; i < (t + 1) * each; ++i) {
        model_.forward(w.context, images + i * floats, w.state);
        const std::span<const float> result = output_of(w.state);
        std::copy(result.begin(), result.end(), logits + i * static_cast<std::int64_t>(result.size()));
      }
    });
  }
  for (std::int64_t i = together; i < count; ++i) {
    const std::span<const float> result = run(images + i * floats);
    std::copy(result.begin(), result.end(), logits + i * static_cast<std::int64_t>(result.size()));
  }
}

void Runner::run_each(std::int64_t count, const std::function<bool(std::int64_t, float*)>& load,
                      const std::function<void(std::int64_t, std::span<const float>)>& sink) {
  const auto floats = static_cast<std::size_t>(model_.image_floats());
  if (pool_.size() == 1 || count < pool_.size()) {
    AlignedBuffer<float> image(floats);
    for (std::int64_t i = 0; i < count; ++i)
      if (load(i, image.data())) sink(i, run(image.data()));
    return;
  }
  for (int t = 0; t < pool_.size(); ++t) worker(t).image.resize(floats);
  std::atomic<std::int64_t> next{0};
  pool_.run([&](int t) {
    Worker& w = *workers_[static_cast<std::size_t>(t)];
    for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      if (!load(i, w.image.data())) continue;
      model_.forward(w.context, w.image.data(), w.state);
      sink(i, output_of(w.state));
    }
  });
}

std::size_t Runner::scratch_bytes() const {
  auto bytes_of = [](const ExecContext& c, const StepState& s) {
    return c.arena.capacity() + (s.x.size() + s.logits.size()) * sizeof(float);
  };
  std::size_t total = bytes_of(shared_, shared_state_);
  for (const auto& w : workers_)
    if (w != nullptr) total += bytes_of(w->context, w->state) + w->image.size() * sizeof(float);
  return total;
}

}  // namespace igq
