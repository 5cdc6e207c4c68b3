// A network that many Python threads may use at once: each call takes a classifier or an embedder of its own, all share
// the weights.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "igq/embedder.h"
#include "igq/igq.h"

namespace igq::python {

/// Runners of one kind (Classifier or Embedder). No lock is held, so that a child forked at any moment finds none.
template <typename Kind>
class Pool {
 public:
  explicit Pool(Kind&& first) : first_(std::move(first)) {}
  ~Pool() {
    for (auto& slot : idle_) delete slot.load();
  }

  const Kind& first() const { return first_; }

  /// Runs use(runner) with one that nobody else uses: the first, which has the threads that were asked for, or, while
  /// that is busy, one of a single thread (calls that run at the same time share the processors as it is).
  template <typename Call>
  auto with(const Call& call) {
    if (take_first()) {
      const Return back{[this] { user_.store(0, std::memory_order_release); }};
      return call(first_);
    }
    std::unique_ptr<Kind> extra = take_idle();
    if (extra == nullptr) extra = std::make_unique<Kind>(first_.share(1));
    const Return back{[this, &extra] { give_idle(std::move(extra)); }};
    return call(*extra);
  }

 private:
  template <typename Give>
  struct Return {
    Give give;
    ~Return() { give(); }
  };
  template <typename Give>
  Return(Give) -> Return<Give>;

  /// What another process held when this one was forked from it is nobody's here.
  bool take_first() {
    const int self = ::getpid();
    int before = user_.load(std::memory_order_relaxed);
    return before != self && user_.compare_exchange_strong(before, self, std::memory_order_acquire);
  }

  std::unique_ptr<Kind> take_idle() {
    for (auto& slot : idle_)
      if (Kind* runner = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<Kind>(runner);
    return nullptr;
  }

  void give_idle(std::unique_ptr<Kind> runner) {
    for (auto& slot : idle_) {
      Kind* nothing = nullptr;
      if (slot.compare_exchange_strong(nothing, runner.get(), std::memory_order_release)) {
        runner.release();
        return;
      }
    }
  }

  Kind first_;
  std::atomic<int> user_{0};                   ///< the process that uses `first_` at the moment
  std::array<std::atomic<Kind*>, 64> idle_{};  ///< more calls at a time make theirs anew
};

/// What a batch is run for.
enum class Output { kLogits, kVectors, kUnitVectors, kTokens };

class SharedModel {
 public:
  SharedModel(const std::string& path, const ClassifierOptions& options);

  const Embedder& network() const { return embedders_.first(); }
  /// Error for an encoder.
  const Classifier& classifier() const;

  /// Rows of `out`: the logits, vectors or tokens of each image; seconds spent in loading them. `errors` as in igq.h.
  double run(Output output, std::span<const ImageSource> images, std::span<float> out,
             std::vector<std::string>* errors);

 private:
  void need_classes() const;

  Pool<Embedder> embedders_;
  std::optional<Pool<Classifier>> classifiers_;  ///< empty: an encoder
  std::string path_;
};

}  // namespace igq::python
