#include "model.h"

#include <utility>

namespace igq::python {

SharedModel::Lease::Lease(SharedModel& from) : owner(from) {
  {
    const std::lock_guard lock(owner.mutex_);
    if (!owner.first_busy_) {
      owner.first_busy_ = true;
      classifier = owner.first_.get();
      return;
    }
    if (!owner.idle_.empty()) {
      extra = std::move(owner.idle_.back());
      owner.idle_.pop_back();
    }
  }
  if (extra == nullptr) extra = std::make_unique<Classifier>(owner.first_->share(1));
  classifier = extra.get();
}

SharedModel::Lease::~Lease() {
  const std::lock_guard lock(owner.mutex_);
  if (extra == nullptr) {
    owner.first_busy_ = false;
    return;
  }
  try {
    owner.idle_.push_back(std::move(extra));
  } catch (const std::bad_alloc&) {  // then it is made anew the next time
  }
}

}  // namespace igq::python
