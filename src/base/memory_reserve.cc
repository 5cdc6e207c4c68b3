#include "base/memory_reserve.h"

#include <atomic>
#include <cstdlib>

namespace igq {
namespace {

constexpr std::size_t kReserve = std::size_t{1} << 20;

// No lock: a process forked while another thread held it would wait for ever. Threads that begin and end at the same
// moment may be without a reserve, which is no worse than before.
std::atomic<void*> reserve{nullptr};
std::atomic<int> users{0};

void give_back() {
  std::free(reserve.exchange(nullptr));
  throw std::bad_alloc();
}

}  // namespace

MemoryReserve::MemoryReserve() noexcept {
  if (users.fetch_add(1) > 0 || std::get_new_handler() != nullptr) return;
  std::free(reserve.exchange(std::malloc(kReserve)));
  std::set_new_handler(give_back);
}

MemoryReserve::~MemoryReserve() {
  if (users.fetch_sub(1) > 1) return;
  if (std::get_new_handler() == give_back) std::set_new_handler(nullptr);
  std::free(reserve.exchange(nullptr));
}

}  // namespace igq
