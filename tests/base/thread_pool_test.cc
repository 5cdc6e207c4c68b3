#include "base/thread_pool.h"

#include <fenv.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <fstream>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "base/fail.h"
#include "base/float_state.h"
#include "tests/child_process.h"
#include "tests/sanitized.h"

namespace igq {
namespace {

/// How often each index of [0, count) is met.
std::vector<int> hits_of(ThreadPool& pool, std::int64_t count, std::int64_t grain) {
  std::vector<int> hits(static_cast<std::size_t>(count), 0);
  pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int) {
    EXPECT_EQ(begin % grain, 0);
    for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
  });
  return hits;
}

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (std::int64_t count : {0, 1, 5, 64, 1000})
      for (std::int64_t grain : {1, 4, 64})
        EXPECT_EQ(hits_of(pool, count, grain), std::vector<int>(static_cast<std::size_t>(count), 1));
  }
}

TEST(ThreadPool, RethrowsAndGoesOn) {
  ThreadPool pool(3);
  for (int thrower = 0; thrower < 3; ++thrower)
    EXPECT_THROW(pool.run([&](int t) {
      if (t == thrower) fail("thread {}", t);
    }),
                 Error);
  for (int round = 0; round < 200; ++round)
    EXPECT_THROW(pool.parallel_for(3, 1,
                                   [&](std::int64_t begin, std::int64_t, int) {
                                     if (begin == round % 3) fail("part {}", begin);
                                   }),
                 Error);
  std::vector<int> seen(3, 0);
  pool.run([&](int t) { seen[static_cast<std::size_t>(t)] = 1; });
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 3);
}

TEST(ThreadPool, ManySmallLoops) {
  ThreadPool pool(4);
  std::vector<std::int64_t> sums(4, 0);
  for (int round = 0; round < 5000; ++round) pool.run([&](int t) { sums[static_cast<std::size_t>(t)] += t; });
  for (int t = 0; t < 4; ++t) EXPECT_EQ(sums[static_cast<std::size_t>(t)], 5000 * t);
  for (int round = 0; round < 5000; ++round)
    pool.parallel_for(4, 1, [&](std::int64_t begin, std::int64_t, int t) {
      EXPECT_EQ(begin, t);
      ++sums[static_cast<std::size_t>(t)];
    });
  for (int t = 0; t < 4; ++t) EXPECT_EQ(sums[static_cast<std::size_t>(t)], 5000 * (t + 1));
}

/// Late workers, lost slices and a caller that works alone, all at once: more threads than processors beside busy ones.
TEST(ThreadPool, TheSplitIsTheSameOnABusyProcessor) {
  std::vector<std::int64_t> expected;
  for (std::int64_t t = 0; t <= 5; ++t) expected.push_back(1000 * t / 5);
  std::vector<std::thread> busy;
  for (int b = 0; b < 3; ++b)
    busy.emplace_back([&] {
      ThreadPool pool(5);
      for (int round = 0; round < 3000; ++round) {
        std::vector<std::int64_t> ends(6, 0);
        pool.parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end, int t) {
          EXPECT_EQ(begin, expected[static_cast<std::size_t>(t)]);
          volatile double x = 1.0;
          for (std::int64_t i = begin; i < end; ++i) x = x * 1.0000001;
          ends[static_cast<std::size_t>(t) + 1] = end;
        });
        EXPECT_EQ(ends, expected);
      }
    });
  for (std::thread& thread : busy) thread.join();
}

/// Whoever waits sleeps: a process whose threads have nothing to do uses no processor.
TEST(ThreadPool, WaitingDoesNotBurn) {
  ThreadPool pool(3);
  pool.run([](int) {});
  const auto used = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto of = [](timeval t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
    return of(usage.ru_utime) + of(usage.ru_stime);
  };
  const double before = used();
  pool.run([](int t) {  // the others wait for the last
    if (t == 2) std::this_thread::sleep_for(std::chrono::milliseconds(400));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(used() - before, 0.1) << "seconds of processor time within 0.6 s of waiting";
}

TEST(ThreadPool, WorkersCalculateAsAProcessDoesAtItsStart) {
  fenv_t before;
  ASSERT_EQ(fegetenv(&before), 0);
  ASSERT_EQ(fesetround(FE_UPWARD), 0);
  std::vector<int> rounding(4, -1);
  {
    ThreadPool pool(4);
    ASSERT_EQ(pool.size(), 4);
    std::atomic<int> arrived{0};
    pool.run([&](int t) {  // each on a thread of its own
      ++arrived;
      while (arrived.load() < 4) std::this_thread::yield();
      rounding[static_cast<std::size_t>(t)] = fegetround();
    });
  }
  EXPECT_EQ(fegetround(), FE_UPWARD);
  ASSERT_EQ(fesetenv(&before), 0);
  EXPECT_EQ(rounding, (std::vector<int>{FE_UPWARD, FE_TONEAREST, FE_TONEAREST, FE_TONEAREST}));
}

TEST(FloatState, SetsAndPutsBack) {
  fenv_t before;
  ASSERT_EQ(fegetenv(&before), 0);
  ASSERT_EQ(fesetround(FE_DOWNWARD), 0);
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040u);  // flush to zero, denormals are zero
  const unsigned host = __builtin_ia32_stmxcsr();
#endif
  {
    const FloatState plain;
    EXPECT_EQ(fegetround(), FE_TONEAREST);
    volatile float smallest = 1e-38f;
    volatile float denormal = smallest / 16.0f;
    EXPECT_GT(denormal * 16.0f, 0.0f);
  }
  EXPECT_EQ(fegetround(), FE_DOWNWARD);
#if defined(__x86_64__)
  EXPECT_EQ(__builtin_ia32_stmxcsr() & 0xFFC0u, host & 0xFFC0u);
#endif
  ASSERT_EQ(fesetenv(&before), 0);
}

/// Virtual memory of this process in bytes.
std::uint64_t virtual_size() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

TEST(ThreadPool, FewerThreadsWhereNoMoreCanBeStarted) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers need the whole address space";
  for (const std::uint64_t megabytes : {0, 4, 20, 60, 200}) {
    const int code = test::in_child([&] {
      const rlimit limit{virtual_size() + (megabytes << 20), RLIM_INFINITY};
      if (::setrlimit(RLIMIT_AS, &limit) != 0) return 3;
      ThreadPool pool(300);
      if (pool.size() < 1 || pool.size() >= 300) return 4;
      std::vector<int> hits(300, 0);
      for (int round = 0; round < 50; ++round)
        pool.parallel_for(300, 1, [&](std::int64_t begin, std::int64_t end, int) {
          for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
      return hits == std::vector<int>(300, 50) ? 0 : 5;
    });
    EXPECT_EQ(code, 0) << megabytes;
  }
}

TEST(ThreadPool, WorksInAForkedChildAndItsChild) {
  if (test::kThreadSanitized) GTEST_SKIP() << "the thread sanitizer starts no threads after a fork";
  ThreadPool pool(4);
  EXPECT_EQ(hits_of(pool, 100, 1), std::vector<int>(100, 1));
  const auto works = [&] { return hits_of(pool, 100, 1) == std::vector<int>(100, 1); };
  EXPECT_EQ(test::in_child([&] {
              for (int round = 0; round < 100; ++round)
                if (!works()) return 1;
              return test::in_child([&] { return works() ? 0 : 1; });
            }),
            0);
  EXPECT_TRUE(works()) << "the parent goes on";
}

TEST(ThreadPool, EndsInAForkedChild) {
  if (test::kThreadSanitized) GTEST_SKIP() << "the thread sanitizer starts no threads after a fork";
  for (const bool used : {false, true}) {
    auto pool = std::make_unique<ThreadPool>(3);
    hits_of(*pool, 10, 1);
    EXPECT_EQ(test::in_child([&] {
                if (used) hits_of(*pool, 10, 1);
                pool.reset();
                return 0;
              }),
              0);
  }
}

/// Another thread is in the middle of a loop when the process is forked: the child's copy of the pool still works.
TEST(ThreadPool, ForkedInTheMiddleOfALoop) {
  if (test::kThreadSanitized) GTEST_SKIP() << "the thread sanitizer starts no threads after a fork";
  ThreadPool pool(3);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load()) pool.run([](int) {});
  });
  for (int round = 0; round < 20; ++round)
    EXPECT_EQ(test::in_child([&] { return hits_of(pool, 100, 1) == std::vector<int>(100, 1) ? 0 : 1; }), 0);
  stop.store(true);
  other.join();
}

}  // namespace
}  // namespace igq
