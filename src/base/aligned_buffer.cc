// Where the memory of AlignedBuffer comes from.
#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <algorithm>

namespace igq::detail {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// Bytes to back with huge pages: whole ones, and a last one that is at least three quarters full.
constexpr std::size_t huge_bytes(std::size_t bytes) { return (bytes + kHugePage / 4) / kHugePage * kHugePage; }

constexpr std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t(huge_bytes(bytes) != 0 ? kHugePage : 64);
}

}  // namespace

void* allocate_aligned(std::size_t bytes) noexcept {
  const std::size_t huge = huge_bytes(bytes);
  void* data = ::operator new(std::max(bytes, huge), alignment_of(bytes), std::nothrow);
  // Only advice: 4 KiB page faults were two thirds of the time of loading a model of 86 MB.
#if defined(MADV_HUGEPAGE)
  if (data != nullptr && huge != 0) ::madvise(data, huge, MADV_HUGEPAGE);
#endif
  return data;
}

void free_aligned(void* data, std::size_t bytes) noexcept { ::operator delete(data, alignment_of(bytes)); }

}  // namespace igq::detail
