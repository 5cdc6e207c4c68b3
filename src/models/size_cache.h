// What a network computes once per image size - window layouts, resized position embeddings - kept for the sizes that
// came last. Bounded, so that any number of sizes leaves memory flat; shared by threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace igq {

template <typename T>
class SizeCache {
 public:
  explicit SizeCache(std::size_t sizes = 8) : sizes_(sizes) {}

  /// The value of a size, made by make() when it is not among the last `sizes` asked for. A value stays alive while
  /// somebody holds it. Two threads that ask for a new size at the same time may both make it; one of the two is kept.
  template <typename Make>
  std::shared_ptr<const T> get(int height, int width, const Make& make) const {
    {
      const std::lock_guard lock(mutex_);
      if (auto found = find(height, width)) return found;
    }
    auto made = std::make_shared<const T>(make());
    const std::lock_guard lock(mutex_);
    if (auto found = find(height, width)) return found;
    Entry* slot = nullptr;
    if (entries_.size() < sizes_) {
      slot = &entries_.emplace_back();
    } else {
      slot = entries_.data();
      for (Entry& e : entries_)
        if (e.used < slot->used) slot = &e;
    }
    *slot = {height, width, ++clock_, std::move(made)};
    return slot->value;
  }
  /// How many sizes are held.
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    int height = 0, width = 0;
    std::uint64_t used = 0;
    std::shared_ptr<const T> value;
  };
  std::shared_ptr<const T> find(int height, int width) const {
    for (Entry& e : entries_)
      if (e.height == height && e.width == width) {
        e.used = ++clock_;
        return e.value;
      }
    return nullptr;
  }

  std::size_t sizes_;
  mutable std::mutex mutex_;
  mutable std::vector<Entry> entries_;
  mutable std::uint64_t clock_ = 0;
};

}  // namespace igq
