#include "base/thread_pool.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/fail.h"
#include "base/float_state.h"
#include "base/platform.h"
#include "base/processors.h"

namespace igq {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// A worker's spin bridges the serial stretches inside one image without burning a core between requests. Under a quota,
// with more threads than processors or on a busy machine it takes time from others who have work.
constexpr microseconds kSpin{200}, kShortSpin{20};
// The caller's: shares end at nearly the same time unless a worker has lost its processor, and then for milliseconds.
constexpr microseconds kCallerSpin{50};

// The score of sharing: gains count up to kMostScore, so that a few lost slices of the scheduler's (some milliseconds)
// end it. Alone at first for kAlone, then a trial; four times as long after each trial that fails.
constexpr microseconds kMostScore{10000}, kFirstScore{4000}, kTrialScore{2000};
constexpr milliseconds kAlone{5}, kMostAlone{1000};
constexpr microseconds kLateCost{20};  // waking a worker that then finds nothing to do

/// How often this process has been forked off another; its pools' threads stayed behind in the parent.
std::atomic<unsigned> forks{0};
[[maybe_unused]] const int registered =
    ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

enum State : std::uint32_t { kIdle, kAsleep, kPosted };

}  // namespace

struct alignas(64) ThreadPool::Worker {
  std::atomic<std::uint32_t> state{kIdle};
  int share = 0;
  ThreadPool* pool = nullptr;
  pthread_t thread{};
  Clock::duration took{};  ///< its share of the last job
  std::exception_ptr error;
};

bool ThreadPool::forked() const { return fork_ != forks.load(std::memory_order_relaxed); }

ThreadPool::ThreadPool(int threads) {
  if (threads == 0) threads = default_threads();
  if (threads < 0 || threads > 1024) fail("{} threads asked for: give a number from 1 to 1024", threads);
  if (threads == 1) return;
  const auto quota = cpu_quota();
  processors_ = allowed_processors();
  spin_ = quota || threads > processors_ ? kShortSpin : kSpin;
  score_ = kFirstScore;
  alone_for_ = kAlone;
  start_workers(threads - 1);
  size_ = static_cast<int>(workers_.size()) + 1;
}

/// As many of `count` as can be started.
void ThreadPool::start_workers(int count) {
  fork_ = forks.load(std::memory_order_relaxed);
  workers_.reserve(static_cast<std::size_t>(count));
  // Signals are the host's business: its handlers run on its own threads. Faults stay with the thread that causes them.
  sigset_t most, before;
  ::sigfillset(&most);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF})
    ::sigdelset(&most, fault);
  ::pthread_sigmask(SIG_SETMASK, &most, &before);
  try {
    for (int i = 1; i <= count; ++i) {
      auto worker = std::make_unique<Worker>();
      worker->share = i;
      worker->pool = this;
      const auto main = [](void* given) -> void* {
        Worker& own = *static_cast<Worker*>(given);
        own.pool->work(own);
        return nullptr;
      };
      if (::pthread_create(&worker->thread, nullptr, main, worker.get()) != 0) break;
      workers_.push_back(std::move(worker));
    }
  } catch (const std::bad_alloc&) {  // fewer, as when the system has no more threads
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  if (forked()) return;  // the threads are the parent's: here they neither run nor end
  stop_.store(true);
  for (auto& worker : workers_)
    if (worker->state.exchange(kPosted) == kAsleep) platform::wake_all(worker->state);
  for (auto& worker : workers_) ::pthread_join(worker->thread, nullptr);
}

void ThreadPool::run_share(int share, int sharers) {
  const auto parts = std::int64_t{size_};
  for (auto t = static_cast<int>(parts * share / sharers); t < static_cast<int>(parts * (share + 1) / sharers); ++t)
    function_(context_, t);
}

/// The caller runs, last ones first, what no worker has begun. Returns how many shares.
int ThreadPool::take_unbegun(int sharers) {
  int taken = 0;
  for (int share = sharers - 1; share > 0; --share) {
    const auto index = static_cast<std::size_t>(share - 1);
    if (index < workers_.size()) {
      std::uint32_t posted = kPosted;
      if (!workers_[index]->state.compare_exchange_strong(posted, kIdle)) continue;
    }
    ++taken;
    if (own_error_) continue;
    try {
      run_share(share, sharers);
    } catch (...) {
      own_error_ = std::current_exception();
    }
  }
  return taken;
}

void ThreadPool::wait_for(std::uint32_t finished) {
  if (finished_.load(std::memory_order_acquire) == finished) return;
  const auto deadline = Clock::now() + kCallerSpin;
  for (int spins = 1; finished_.load(std::memory_order_acquire) != finished; ++spins) {
    pause_briefly();
    if (spins % 16 != 0 || Clock::now() < deadline) continue;
    caller_sleeps_.store(1);
    for (std::uint32_t now = finished_.load(); now != finished; now = finished_.load())
      platform::wait_while(finished_, now);
    caller_sleeps_.store(0, std::memory_order_relaxed);
  }
}

bool ThreadPool::shares_short_loops() const {
  if (size_ == 1 || processors_ == 1) return false;
  return alone_until_ == Clock::time_point{} || Clock::now() >= alone_until_;
}

void ThreadPool::start_short(Function function, void* context) {
  if (shares_short_loops()) {
    start(function, context, std::min(size_, processors_), true);
    return;
  }
  for (int t = 0; t < size_; ++t) function(context, t);
}

void ThreadPool::start(Function function, void* context, int sharers, bool scored) {
  if (forked()) {
    workers_.clear();
    failed_.store(false, std::memory_order_relaxed);
    start_workers(size_ - 1);
  }
  function_ = function;
  context_ = context;
  sharers_ = sharers;
  own_error_ = nullptr;
  finished_.store(0, std::memory_order_relaxed);
  const auto begin = Clock::now();
  const int posted = std::min(sharers - 1, static_cast<int>(workers_.size()));
  for (int i = 0; i < posted; ++i) {
    Worker& worker = *workers_[static_cast<std::size_t>(i)];
    if (worker.state.exchange(kPosted) == kAsleep) platform::wake_all(worker.state);
  }
  try {
    run_share(0, sharers);
  } catch (...) {
    own_error_ = std::current_exception();
  }
  const auto own_end = Clock::now();
  const int late = take_unbegun(sharers);
  const auto waiting = late == 0 ? own_end : Clock::now();
  wait_for(static_cast<std::uint32_t>(sharers - 1 - late));
  if (scored) keep_score(own_end - begin, Clock::now() - waiting, sharers - 1 - late, late);
  if (!own_error_ && !failed_.load(std::memory_order_relaxed)) return;
  std::exception_ptr first = std::exchange(own_error_, nullptr);
  for (auto& worker : workers_) {
    if (!first) first = worker->error;
    worker->error = nullptr;
  }
  failed_.store(false, std::memory_order_relaxed);
  if (first) std::rethrow_exception(first);
}

/// What sharing has gained: alone, the caller would have taken the time of all shares, each as long as its own, or as
/// the worker's where the caller was held up, perhaps by a worker on its own processor; and a little less for a loop in
/// one piece. It would neither have waited nor woken anybody.
void ThreadPool::keep_score(Clock::duration own, Clock::duration waited, int helped, int late) {
  const auto share = helped == 0 ? own : std::min(own, workers_.front()->took);
  score_ += share * (helped + 1) - share / 16 - own - waited - kLateCost * late;
  if (score_ >= kMostScore) {
    score_ = kMostScore;
    if (alone_until_ != Clock::time_point{}) alone_for_ = std::max<Clock::duration>(alone_for_ / 4, kAlone);
    alone_until_ = {};
    if (!settled_.load(std::memory_order_relaxed)) settled_.store(true, std::memory_order_relaxed);
  } else if (score_ < Clock::duration{}) {
    score_ = kTrialScore;
    settled_.store(false, std::memory_order_relaxed);
    alone_until_ = Clock::now() + alone_for_;
    alone_for_ = std::min<Clock::duration>(4 * alone_for_, kMostAlone);
  }
}

void ThreadPool::work(Worker& worker) {
  const FloatState plain;  // a thread begins with the state of the one that started it
  while (true) {
    std::uint32_t posted = kPosted;
    if (!worker.state.compare_exchange_strong(posted, kIdle)) {  // nothing, or the caller was faster: sleep at once
      std::uint32_t idle = kIdle;
      worker.state.compare_exchange_strong(idle, kAsleep);
      while (worker.state.load() == kAsleep) platform::wait_while(worker.state, kAsleep);
      continue;
    }
    if (stop_.load()) return;
    const auto begin = Clock::now();
    try {
      run_share(worker.share, sharers_);
    } catch (...) {
      worker.error = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    const auto end = Clock::now();
    worker.took = end - begin;
    finished_.fetch_add(1);
    if (caller_sleeps_.load() != 0) platform::wake_all(finished_);
    const Clock::duration spin = settled_.load(std::memory_order_relaxed) ? spin_ : kShortSpin;
    for (int spins = 1; worker.state.load(std::memory_order_relaxed) == kIdle; ++spins) {
      pause_briefly();
      if (spins % 16 == 0 && Clock::now() - end >= spin) break;
    }
  }
}

}  // namespace igq
