// Threads for what is done once, when a model is loaded: reading and packing are bound by one core, not by the file
// cache.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/processors.h"
#include "base/thread_pool.h"

namespace igq {

/// body(i) for every i below count, the next one for whoever is free: two threads where `bytes`, of all together, are
/// worth starting a second.
template <typename Body>
void for_each_loading(std::uint64_t bytes, std::size_t count, const Body& body) {
  constexpr std::uint64_t kWorthThreads = std::uint64_t{4} << 20;
  ThreadPool pool(bytes < kWorthThreads ? 1 : std::min(2, default_threads()));
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  });
}

}  // namespace igq
