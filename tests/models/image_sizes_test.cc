// Pictures of other sizes than the configured one at run time: the same bits as a network built for that size, memory
// that stays flat over many sizes, one cache for several threads.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <thread>
#include <vector>

#include "base/random.h"
#include "models/load_model.h"
#include "models/size_cache.h"

namespace igq {
namespace {

ModelConfig tiny(Family family, int height, int width) {
  ModelConfig config;
  config.architecture = "tiny";
  config.family = family;
  config.num_classes = 5;
  config.image_height = height;
  config.image_width = width;
  config.vit.patch_height = config.vit.patch_width = 8;
  config.vit.embed_dim = 32;
  config.vit.depth = 2;
  config.vit.num_heads = 2;
  config.vit.mlp_hidden = 64;
  config.swin.embed_dim = 16;
  config.swin.depths = {2, 2};
  config.swin.num_heads = {2, 4};
  config.swin.window_size = {4, 4};
  return config;
}

std::vector<float> picture(int height, int width) {
  Random random(static_cast<std::uint64_t>(height * 1000 + width));
  std::vector<float> values(static_cast<std::size_t>(3 * height * width));
  for (float& v : values) v = static_cast<float>(random.uniform() * 2.0 - 1.0);
  return values;
}

struct SizedRun {
  ExecContext context;
  StepState state;

  SizedRun() { context.kernels = &kernels::kernels_for(best_isa()); }
  std::vector<float> logits(const Model& model, int height, int width) {
    const std::vector<float> image = picture(height, width);
    state.image_height = height;
    state.image_width = width;
    model.forward(context, image.data(), state);
    return {state.logits.begin(), state.logits.end()};
  }
};

TEST(ImageSizes, EqualANetworkBuiltForThem) {
  for (const Family family : {Family::kVit, Family::kSwin}) {
    const LoadedModel loaded = random_model(tiny(family, 64, 64), 3);
    SizedRun run;
    const std::vector<float> before = run.logits(*loaded.model, 64, 64);
    for (const auto& [h, w] : std::vector<std::pair<int, int>>{{64, 96}, {72, 40}, {136, 104}, {64, 64}}) {
      const auto built = build_model(tiny(family, h, w), *loaded.tensors);
      SizedRun other;
      EXPECT_EQ(run.logits(*loaded.model, h, w), other.logits(*built, h, w)) << h << "x" << w;
    }
    EXPECT_EQ(run.logits(*loaded.model, 64, 64), before);
  }
}

TEST(ImageSizes, SwinPadsToWholePatches) {
  const LoadedModel loaded = random_model(tiny(Family::kSwin, 64, 64), 3);
  const std::vector<float> image = picture(62, 61);
  std::vector<float> padded(3 * 64 * 64, 0.0f);
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 62; ++y) std::copy_n(image.data() + (c * 62 + y) * 61, 61, padded.data() + (c * 64 + y) * 64);
  SizedRun run;
  const std::vector<float> got = run.logits(*loaded.model, 62, 61);
  run.state.image_height = run.state.image_width = 64;
  loaded.model->forward(run.context, padded.data(), run.state);
  EXPECT_EQ(got, std::vector<float>(run.state.logits.begin(), run.state.logits.end()));
}

std::size_t resident_pages() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  in >> all >> resident;
  return resident;
}

TEST(ImageSizes, ManyOfThemLeaveMemoryFlat) {
  for (const Family family : {Family::kVit, Family::kSwin}) {
    const LoadedModel loaded = random_model(tiny(family, 64, 64), 3);
    SizedRun run;
    // The largest first, so that what is kept for passes has its final size.
    run.logits(*loaded.model, 256, 256);
    Random random(1);
    std::size_t arena = 0, resident = 0;
    for (int i = 0; i < 600; ++i) {
      const int h = 8 * static_cast<int>(4 + random.below(28)), w = 8 * static_cast<int>(4 + random.below(28));
      const std::vector<float> logits = run.logits(*loaded.model, h, w);
      for (const float v : logits) ASSERT_TRUE(std::isfinite(v));
      if (i == 99) {
        arena = run.context.arena.capacity();
        resident = resident_pages();
      }
    }
    EXPECT_EQ(run.context.arena.capacity(), arena);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep freed memory
    // 500 further sizes; each one kept would add about 20 kB.
    EXPECT_LE(resident_pages(), resident + 1024);
#else
    EXPECT_GT(resident, 0u);
#endif
  }
}

TEST(ImageSizes, AreSharedByThreads) {
  const LoadedModel loaded = random_model(tiny(Family::kSwin, 64, 64), 3);
  std::vector<std::vector<float>> want;
  for (int i = 0; i < 20; ++i) want.push_back(SizedRun().logits(*loaded.model, 48 + 8 * i, 64));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      SizedRun run;
      for (int i = 0; i < 60; ++i) {
        const int at = (i * 7 + t) % 20;
        wrong[static_cast<std::size_t>(t)] +=
            run.logits(*loaded.model, 48 + 8 * at, 64) == want[static_cast<std::size_t>(at)] ? 0 : 1;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(SizeCache, KeepsWhatCameLast) {
  const SizeCache<int> cache(2);
  int made = 0;
  const auto get = [&](int h, int w) { return *cache.get(h, w, [&] { return ++made; }); };
  EXPECT_EQ(get(1, 1), 1);
  EXPECT_EQ(get(1, 2), 2);
  EXPECT_EQ(get(1, 1), 1);
  EXPECT_EQ(get(2, 2), 3);  // in place of 1x2
  EXPECT_EQ(get(1, 1), 1);
  EXPECT_EQ(get(1, 2), 4);
  EXPECT_EQ(cache.size(), 2u);
}

}  // namespace
}  // namespace igq
