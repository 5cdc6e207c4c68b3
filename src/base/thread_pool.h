// A small persistent thread pool for loops of microseconds: one caller, static split, spin before sleep.
//
// Why not oneTBB: at batch 1 a model issues some hundred parallel loops of 20 to 500 microseconds per image; here a
// loop costs one atomic store and one spin-wait, and the split is fixed, so float results cannot depend on scheduling.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace igq {

class ThreadPool {
 public:
  /// `threads` counts the calling thread; 0 means one per processor the process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(thread_index) once on every thread of the pool, the caller being thread 0, and waits for all.
  /// The first exception is rethrown. Not reentrant: body must not call run() of the same pool.
  template <typename Body>
  void run(Body&& body) {
    if (workers_.empty()) {
      body(0);
      return;
    }
    using Plain = std::remove_reference_t<Body>;
    start([](void* context, int index) { (*static_cast<Plain*>(context))(index); },
          const_cast<void*>(static_cast<const void*>(&body)));
  }

  /// Splits [0, count) into one contiguous range per thread, multiples of `grain` long; body(begin, end, thread).
  template <typename Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    const std::int64_t blocks = (count + grain - 1) / grain;
    if (workers_.empty() || blocks <= 1) {
      if (count > 0) body(std::int64_t{0}, count, 0);
      return;
    }
    run([&](int t) {
      const std::int64_t n = size();
      const std::int64_t begin = blocks * t / n * grain;
      std::int64_t end = blocks * (t + 1) / n * grain;
      if (end > count) end = count;
      if (begin < end) body(begin, end, t);
    });
  }

  static int hardware_threads();

 private:
  using Function = void (*)(void*, int);
  void start(Function function, void* context);
  void work(int index);

  std::vector<std::thread> workers_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  Function function_ = nullptr;
  void* context_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::exception_ptr error_;
};

}  // namespace igq
