#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/fail.h"

namespace igq {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (std::int64_t count : {0, 1, 5, 64, 1000})
      for (std::int64_t grain : {1, 4, 64}) {
        std::vector<int> hits(static_cast<std::size_t>(count), 0);
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int) {
          EXPECT_EQ(begin % grain, 0);
          for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
        for (int h : hits) EXPECT_EQ(h, 1);
      }
  }
}

TEST(ThreadPool, RethrowsAndGoesOn) {
  ThreadPool pool(3);
  for (int thrower = 0; thrower < 3; ++thrower)
    EXPECT_THROW(pool.run([&](int t) {
      if (t == thrower) fail("thread {}", t);
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
}

}  // namespace
}  // namespace igq
