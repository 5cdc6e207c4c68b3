// Memory kept back for the way out: unwinding after a failed allocation destroys objects whose destructors allocate
// (a list of steps, a message), and what a destructor throws ends the process.
#pragma once

#include <cstddef>
#include <new>

namespace igq {

/// While one lives, the first allocation that fails gives the reserve back to the heap and throws std::bad_alloc, as it
/// would anyway. Where the host has a handler of its own (std::set_new_handler), nothing is done. May be nested and
/// held by several threads.
class MemoryReserve {
 public:
  MemoryReserve() noexcept;
  ~MemoryReserve();
  MemoryReserve(const MemoryReserve&) = delete;
  MemoryReserve& operator=(const MemoryReserve&) = delete;
};

}  // namespace igq
