// Scratch memory of one forward pass: a bump allocator that stops allocating after the first image.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"

namespace igq {

/// Values taken from an arena live until the ArenaScope that was open when they were taken ends. The first image
/// grows the arena chunk by chunk; reset() (between images) merges the chunks into one of the size that was needed.
class Arena {
 public:
  template <typename T>
  T* take(std::size_t count) {
    return reinterpret_cast<T*>(take_bytes(count * sizeof(T)));
  }
  /// Forget everything taken; merge the chunks so that the next pass of the same shape allocates nothing.
  void reset() {
    if (chunks_.size() > 1) {
      std::size_t total = 0;
      for (const auto& chunk : chunks_) total += chunk->size();
      chunks_.clear();
      chunks_.push_back(std::make_unique<AlignedBuffer<std::byte>>(total));
    }
    current_ = 0;
    used_ = 0;
  }
  std::size_t capacity() const {
    std::size_t total = 0;
    for (const auto& chunk : chunks_) total += chunk->size();
    return total;
  }

 private:
  friend class ArenaScope;
  static constexpr std::size_t kChunk = std::size_t{1} << 20;

  std::byte* take_bytes(std::size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    while (true) {
      if (current_ < chunks_.size() && used_ + bytes <= chunks_[current_]->size()) {
        std::byte* p = chunks_[current_]->data() + used_;
        used_ += bytes;
        return p;
      }
      if (current_ + 1 < chunks_.size() && bytes <= chunks_[current_ + 1]->size()) {
        ++current_;
        used_ = 0;
        continue;
      }
      // Chunks after the current one are unused here (scopes nest), so a larger one may go in between.
      const std::size_t size = bytes > kChunk ? bytes : kChunk;
      const std::size_t at = chunks_.empty() ? 0 : current_ + 1;
      chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(at),
                     std::make_unique<AlignedBuffer<std::byte>>(size));
      current_ = at;
      used_ = 0;
    }
  }

  std::vector<std::unique_ptr<AlignedBuffer<std::byte>>> chunks_;
  std::size_t current_ = 0;
  std::size_t used_ = 0;
};

/// Gives back on destruction everything taken since its construction.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), current_(arena.current_), used_(arena.used_) {}
  ~ArenaScope() {
    arena_.current_ = current_;
    arena_.used_ = used_;
  }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  std::size_t current_, used_;
};

}  // namespace igq
