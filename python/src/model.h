// A model that many Python threads may use at once: each call takes a classifier of its own, all share the weights.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "igq/igq.h"

namespace igq::python {

class SharedModel {
 public:
  SharedModel(const std::string& path, const ClassifierOptions& options)
      : first_(std::make_unique<Classifier>(path, options)) {}

  const Classifier& first() const { return *first_; }

  /// Runs use(classifier) with one that nobody else uses: the first, which has the threads that were asked for, or,
  /// while that is busy, one of a single thread (calls that run at the same time share the processors as it is).
  template <typename Use>
  auto with(const Use& use) {
    Lease lease(*this);
    return use(*lease.classifier);
  }

 private:
  struct Lease {
    explicit Lease(SharedModel& owner);
    ~Lease();
    SharedModel& owner;
    Classifier* classifier = nullptr;
    std::unique_ptr<Classifier> extra;  // null when `classifier` is the first
  };

  std::mutex mutex_;
  bool first_busy_ = false;
  std::unique_ptr<Classifier> first_;
  std::vector<std::unique_ptr<Classifier>> idle_;
};

}  // namespace igq::python
