// What a host process may do to the library: fork after loading, another rounding mode or flush-to-zero, one classifier
// in two threads. Results stay the same bits, or igq::Error says what is wrong; nothing hangs.
#include <fenv.h>
#include <gtest/gtest.h>
#include <igq/igq.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "tests/api/files.h"
#include "tests/child_process.h"
#include "tests/sanitized.h"

namespace igq {
namespace {

using test::image;
using test::logits;
using test::model;

Classifier load(int which, int threads) {
  ClassifierOptions options;
  options.threads = threads;
  return Classifier(model(which), options);
}

TEST(HostProcess, ForksAfterLoading) {
  if (test::kThreadSanitized) GTEST_SKIP() << "the thread sanitizer starts no threads after a fork";
  for (int which = 0; which < 2; ++which)
    for (const int threads : {1, 2, 4}) {
      std::optional<Classifier> classifier(load(which, threads));
      const std::vector<float> expected = logits(*classifier);
      EXPECT_EQ(test::in_child([&] {
                  if (logits(*classifier) != expected) return 1;
                  Classifier share = classifier->share(2), own = load(which, threads);
                  if (logits(share) != expected || logits(own) != expected) return 2;
                  classifier.reset();  // joins no thread of the parent
                  return 0;
                }),
                0)
          << "model " << which << ", " << threads << " threads";
      EXPECT_EQ(test::in_child([&] {
                  classifier.reset();
                  return 0;
                }),
                0);
      EXPECT_EQ(logits(*classifier), expected) << "the parent goes on";
    }
}

TEST(HostProcess, ForksWhileAnotherThreadPredicts) {
  if (test::kThreadSanitized) GTEST_SKIP() << "the thread sanitizer starts no threads after a fork";
  Classifier classifier = load(0, 2);
  const std::vector<float> expected = logits(classifier);
  const std::vector<float> pixels = classifier.load_image(image());
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load()) classifier.logits(pixels);
  });
  for (int round = 0; round < 10; ++round)
    EXPECT_EQ(test::in_child([&] {
                const auto values = classifier.logits(pixels);
                return std::vector<float>(values.begin(), values.end()) == expected ? 0 : 1;
              }),
              0);
  stop.store(true);
  other.join();
}

TEST(HostProcess, CalculatesInAnotherRoundingMode) {
  fenv_t before;
  ASSERT_EQ(fegetenv(&before), 0);
  for (int which = 0; which < 2; ++which) {
    Classifier plain = load(which, 2);
    const std::vector<float> pixels = plain.load_image(image()), expected = logits(plain);
    const std::vector<Prediction> predicted = plain.predict(image());
    for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
      ASSERT_EQ(fesetround(mode), 0);
      Classifier other = load(which, 2), share = plain.share(2);
      const bool same = other.load_image(image()) == pixels && logits(other) == expected && logits(share) == expected &&
                        logits(plain) == expected && other.predict(image()).front().score == predicted.front().score;
      const int after = fegetround();
      ASSERT_EQ(fesetenv(&before), 0);
      EXPECT_TRUE(same) << "model " << which << ", rounding mode " << mode;
      EXPECT_EQ(after, mode) << "what the host has set must stay";
    }
  }
}

#if defined(__x86_64__)
TEST(HostProcess, FlushesToZero) {
  const unsigned before = __builtin_ia32_stmxcsr();
  for (int which = 0; which < 2; ++which) {
    Classifier plain = load(which, 2);
    std::vector<float> denormals(plain.image_floats(), 1e-39f);  // which a host's flags would make zeros
    denormals[0] = 1.0f;
    const auto values = plain.logits(denormals);
    const std::vector<float> expected(values.begin(), values.end()), pixels = plain.load_image(image());
    const std::vector<float> whole = logits(plain);
    const std::filesystem::path file = model(which), picture = image();
    ClassifierOptions options;
    options.threads = 2;
    // Flush-to-zero and denormals-are-zero; the same with exceptions that trap, where this test calls nothing else.
    for (const unsigned flags : {before | 0x8040u, (before | 0x8040u) & ~0x1F80u}) {
      std::vector<float> loaded, of_denormals(expected.size()), of_image(whole.size());
      __builtin_ia32_ldmxcsr(flags & ~0x3Fu);
      std::optional<Classifier> other(std::in_place, file, options);
      loaded = other->load_image(picture);
      auto again = other->logits(denormals);
      std::memcpy(of_denormals.data(), again.data(), again.size_bytes());
      again = other->logits(loaded);
      std::memcpy(of_image.data(), again.data(), again.size_bytes());
      const unsigned after = __builtin_ia32_stmxcsr();
      __builtin_ia32_ldmxcsr(before);
      EXPECT_EQ(loaded, pixels);
      EXPECT_EQ(of_denormals, expected) << "model " << which << ", flags " << flags;
      EXPECT_EQ(of_image, whole) << "model " << which << ", flags " << flags;
      EXPECT_EQ(after & 0xFFC0u, flags & 0xFFC0u) << "what the host has set must stay";
    }
  }
}
#endif

TEST(HostProcess, OneClassifierInTwoThreads) {
  Classifier classifier = load(0, 1);
  const std::vector<float> pixels = classifier.load_image(image()), expected = logits(classifier);
  std::atomic<bool> refused{false};
  std::atomic<int> wrong{0};
  const auto predict = [&] {
    for (int round = 0; round < 500000 && !refused.load(); ++round) {
      try {
        // Not what it returns: that lies in the classifier, and is valid until the next call, the other thread's.
        if (classifier.predict(pixels, 1).front().logit != *std::max_element(expected.begin(), expected.end())) ++wrong;
      } catch (const Error& e) {
        if (std::string(e.what()).find("predicts in another thread already") == std::string::npos) ++wrong;
        refused.store(true);
      }
    }
  };
  std::thread other(predict);
  predict();
  other.join();
  EXPECT_TRUE(refused.load());
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(logits(classifier), expected) << "the classifier is as good as before";
}

}  // namespace
}  // namespace igq
