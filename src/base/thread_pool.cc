#include "base/thread_pool.h"

#include <sched.h>

#include <chrono>

#include "base/fail.h"

namespace igq {
namespace {

void pause_briefly() { __builtin_ia32_pause(); }

// Long enough to bridge the serial stretches inside one image, short enough not to burn a core between requests.
constexpr auto kSpin = std::chrono::microseconds(200);

}  // namespace

int ThreadPool::hardware_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

ThreadPool::ThreadPool(int threads) {
  if (threads == 0) threads = hardware_threads();
  if (threads < 0 || threads > 1024) fail("{} threads asked for: give a number from 1 to 1024", threads);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::start(Function function, void* context) {
  function_ = function;
  context_ = context;
  pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1);  // seq_cst: either a worker sees it before it sleeps or we see the sleeper below
  if (sleeping_.load() != 0) {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  std::exception_ptr mine;
  try {
    function(context, 0);
  } catch (...) {
    mine = std::current_exception();
  }
  for (int spins = 0; pending_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 10000)
      pause_briefly();
    else
      std::this_thread::yield();
  }
  std::exception_ptr theirs;
  if (error_) std::swap(theirs, error_);
  if (mine) std::rethrow_exception(mine);
  if (theirs) std::rethrow_exception(theirs);
}

void ThreadPool::work(int index) {
  std::uint64_t seen = 0;
  while (true) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen) {
      pause_briefly();
      if (++spins % 64 != 0 || std::chrono::steady_clock::now() < deadline) continue;
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      sleeping_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    try {
      function_(context_, index);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    pending_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace igq
