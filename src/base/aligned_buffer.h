// A growable array of plain values aligned to 64 bytes (one cache line, one 512-bit vector).
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/fail.h"

namespace igq {

namespace detail {
/// 64-byte aligned memory, in huge pages where it fills them; null when memory runs out.
void* allocate_aligned(std::size_t bytes) noexcept;
/// `bytes` as it was allocated.
void free_aligned(void* data, std::size_t bytes) noexcept;
}  // namespace detail

/// Uninitialised on construction; contents are not kept by resize(). Throws Error when memory runs out.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) { resize(size); }
  AlignedBuffer(const AlignedBuffer& other) { *this = other; }
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(const AlignedBuffer& other) {
    if (this == &other) return *this;
    resize(other.size_);
    if (size_ != 0) std::memcpy(data_, other.data_, size_ * sizeof(T));
    return *this;
  }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AlignedBuffer() { release(); }

  /// Makes room for `size` values; existing contents are lost when it grows.
  void resize(std::size_t size) {
    if (size > capacity_) {
      if (size > std::numeric_limits<std::size_t>::max() / sizeof(T) / 2)
        fail("out of memory: {} values asked for", size);
      release();
      const std::size_t bytes = bytes_of(size);
      data_ = static_cast<T*>(detail::allocate_aligned(bytes));
      if (data_ == nullptr) fail("out of memory: {} bytes asked for", bytes);
      capacity_ = size;
    }
    size_ = size;
  }
  void resize_zero(std::size_t size) {
    resize(size);
    if (size != 0) std::memset(static_cast<void*>(data_), 0, size * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  static constexpr std::size_t bytes_of(std::size_t size) {
    return (size * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  void release() {
    if (data_ != nullptr) detail::free_aligned(data_, bytes_of(capacity_));
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace igq
