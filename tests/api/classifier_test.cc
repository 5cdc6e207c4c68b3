// The public API under threads: shares of one classifier, one classifier per thread, and faults on some of them at the
// same time. Meant for the thread sanitizer; what the API gives is checked from outside by tests/package.
#include <gtest/gtest.h>
#include <igq/igq.h>

#include <thread>
#include <vector>

#include "tests/api/files.h"

namespace igq {
namespace {

constexpr int kThreads = 4;

using test::image;
using test::logits;
using test::model;

TEST(ClassifierConcurrency, SharesOfOneModelOnManyThreads) {
  for (int which = 0; which < 2; ++which) {
    Classifier original(model(which));
    const std::vector<float> expected = logits(original);
    std::vector<std::vector<float>> got(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&got, t, share = original.share()]() mutable {
        for (int round = 0; round < 5; ++round) got[static_cast<std::size_t>(t)] = logits(share);
      });
    EXPECT_EQ(logits(original), expected);  // meanwhile
    for (std::thread& thread : threads) thread.join();
    for (const auto& each : got) EXPECT_EQ(each, expected);
  }
}

TEST(ClassifierConcurrency, ManyModelsAtOnceSomeWithFaults) {
  std::vector<std::vector<float>> expected, got(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    Classifier alone(model(t));
    expected.push_back(logits(alone));
  }
  std::vector<int> faults(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&got, &faults, t] {
      const auto at = static_cast<std::size_t>(t);
      for (int round = 0; round < 3; ++round) {
        Classifier own(model(t));
        got[at] = logits(own);
        try {
          own.load_image("nothing.png");
        } catch (const Error&) {
          ++faults[at];
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, expected);
  EXPECT_EQ(faults, std::vector<int>(kThreads, 3));
}

}  // namespace
}  // namespace igq
