// A small persistent thread pool for loops of microseconds: one caller, static split, spin before sleep.
//
// Why not oneTBB: at batch 1 a model issues some hundred parallel loops of 20 to 500 microseconds per image; here a
// loop costs one exchange per worker and a short spin, and the split is fixed, so float results cannot depend on
// scheduling: it decides who runs a part, never what the parts are. A worker that is late, because its processor has
// other work, costs nothing: the caller runs its part. Where that happens often, or workers stop halfway, the caller
// works alone for a while and tries again.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <type_traits>
#include <vector>

namespace igq {

class ThreadPool {
 public:
  /// `threads` counts the calling thread; 0 means default_threads(). Where fewer can be started (limits on processes or
  /// memory) the pool has fewer.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  /// Whether parallel_for() shares loops at the moment. Who has a way to work that is cheaper without threads asks
  /// before a longer piece of work, such as an image.
  bool shares_short_loops() const;

  /// Calls body(t) once for every t below size() and waits for all; 0 on the calling thread, the others on whichever
  /// thread is free, at the same time where there are processors. The first exception is rethrown. Not reentrant: body
  /// must not call run() of the same pool. For bodies of milliseconds; nothing is assumed about their lengths.
  template <typename Body>
  void run(Body&& body) {
    if (size_ == 1) {
      body(0);
      return;
    }
    using Plain = std::remove_reference_t<Body>;
    start([](void* context, int index) { (*static_cast<Plain*>(context))(index); },
          const_cast<void*>(static_cast<const void*>(&body)), size_, false);
  }

  /// Splits [0, count) into one contiguous range per thread, multiples of `grain` long; body(begin, end, thread). For
  /// loops of microseconds: shared out only while shares_short_loops().
  template <typename Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    const std::int64_t blocks = (count + grain - 1) / grain;
    if (size_ == 1 || blocks <= 1) {
      if (count > 0) body(std::int64_t{0}, count, 0);
      return;
    }
    const auto part = [&](int t) {
      const std::int64_t n = size_;
      const std::int64_t begin = blocks * t / n * grain;
      std::int64_t end = blocks * (t + 1) / n * grain;
      if (end > count) end = count;
      if (begin < end) body(begin, end, t);
    };
    using Part = decltype(part);
    start_short([](void* context, int index) { (*static_cast<const Part*>(context))(index); },
                const_cast<void*>(static_cast<const void*>(&part)));
  }

 private:
  using Function = void (*)(void*, int);
  using Clock = std::chrono::steady_clock;
  struct Worker;

  void start_workers(int count);
  void start_short(Function function, void* context);
  /// Shares parts [0, size) among the caller and `sharers` - 1 workers; `scored`: keep_score() learns from it.
  void start(Function function, void* context, int sharers, bool scored);
  void run_share(int share, int sharers);
  int take_unbegun(int sharers);
  void wait_for(std::uint32_t finished);
  void keep_score(Clock::duration own, Clock::duration waited, int helped, int late);
  void work(Worker& worker);
  bool forked() const;

  int size_ = 1;
  int processors_ = 1;      ///< no short loop has more sharers
  Clock::duration spin_{};  ///< of a worker after work, when settled
  std::vector<std::unique_ptr<Worker>> workers_;
  unsigned fork_ = 0;

  Function function_ = nullptr;
  void* context_ = nullptr;
  int sharers_ = 1;
  std::exception_ptr own_error_;
  alignas(64) std::atomic<std::uint32_t> finished_{0};  ///< shares that workers have ended, of this job
  std::atomic<std::uint32_t> caller_sleeps_{0};
  std::atomic<bool> failed_{false};
  std::atomic<bool> stop_{false};
  std::atomic<bool> settled_{false};  ///< sharing pays: workers spin for longer

  // What sharing short loops has gained lately, less what waiting has cost; below zero the caller works alone.
  Clock::duration score_{}, alone_for_{};
  Clock::time_point alone_until_{};
};

}  // namespace igq
