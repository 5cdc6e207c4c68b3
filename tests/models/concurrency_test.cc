// One loaded model used from many threads, and many models at once: the same bits as alone. Meant for the thread
// sanitizer too.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "models/load_model.h"
#include "models/runner.h"
#include "tests/test_util.h"

namespace igq {
namespace {

constexpr int kThreads = 4;

AlignedBuffer<float> image_of(const Model& model, int variant) {
  AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  for (std::size_t i = 0; i < image.size(); ++i)
    image[i] = static_cast<float>((i * 37 + static_cast<std::size_t>(variant) * 101) % 255) / 128.0f - 1.0f;
  return image;
}

/// One pass with a context and a state of its own.
std::vector<float> forward(const Model& model, Execution execution, const float* image, ThreadPool* pool = nullptr) {
  ExecContext context;
  context.kernels = &kernels::kernels_for(best_isa());
  context.execution = execution;
  context.pool = pool;
  StepState state;
  model.forward(context, image, state);
  return {state.logits.begin(), state.logits.end()};
}

/// body(t) on kThreads threads, started together as far as that goes.
template <typename Body>
void on_threads(Body&& body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&body, t] { body(t); });
  for (std::thread& thread : threads) thread.join();
}

std::filesystem::path vit() { return test::fixtures() / "models/vit_token"; }
std::filesystem::path swin() { return test::fixtures() / "models/swin_shift"; }
std::filesystem::path quantized() { return test::fixtures() / "igq/v1.igq"; }

void check_shared(const std::filesystem::path& path, const std::vector<Execution>& executions) {
  const LoadedModel loaded = load_model(path);
  Model& model = *loaded.model;
  for (const Execution execution : executions) model.prepare(execution, kernels::kernels_for(best_isa()));
  for (const Execution execution : executions) {
    std::vector<AlignedBuffer<float>> images;
    std::vector<std::vector<float>> expected, got(kThreads);
    for (int t = 0; t < kThreads; ++t) {
      images.push_back(image_of(model, t));
      expected.push_back(forward(model, execution, images.back().data()));
    }
    on_threads([&](int t) {
      const auto at = static_cast<std::size_t>(t);
      ThreadPool pool(t % 2 == 0 ? 1 : 2);  // some split an image over threads of their own
      for (int round = 0; round < 5; ++round) got[at] = forward(model, execution, images[at].data(), &pool);
    });
    EXPECT_EQ(got, expected) << path << " " << execution_name(execution);
  }
}

TEST(Concurrency, OneFloatModelFromManyThreads) {
  check_shared(vit(), {Execution::kFloat});
  check_shared(swin(), {Execution::kFloat});
}

TEST(Concurrency, OneQuantizedModelFromManyThreads) {
  check_shared(quantized(), {Execution::kInteger, Execution::kSimulate});
}

TEST(Concurrency, ExecutionsOfOneModelAtOnce) {
  const LoadedModel loaded = load_model(quantized());
  Model& model = *loaded.model;
  for (const Execution execution : {Execution::kInteger, Execution::kSimulate})
    model.prepare(execution, kernels::kernels_for(best_isa()));
  const AlignedBuffer<float> image = image_of(model, 1);
  const auto integer = forward(model, Execution::kInteger, image.data()),
             simulated = forward(model, Execution::kSimulate, image.data());
  on_threads([&](int t) {
    for (int round = 0; round < 5; ++round)
      EXPECT_EQ(forward(model, t % 2 == 0 ? Execution::kInteger : Execution::kSimulate, image.data()),
                t % 2 == 0 ? integer : simulated);
  });
}

TEST(Concurrency, ManyModelsAtOnce) {
  const std::filesystem::path paths[kThreads] = {vit(), quantized(), swin(), quantized()};
  const auto run = [&](int t, int threads) {
    const LoadedModel loaded = load_model(paths[t]);
    Runner runner(*loaded.model, loaded.quantized ? Execution::kInteger : Execution::kFloat, best_isa(), threads);
    const AlignedBuffer<float> image = image_of(*loaded.model, t);
    const std::span<const float> logits = runner.run(image.data());
    return std::vector<float>(logits.begin(), logits.end());
  };
  std::vector<std::vector<float>> expected, got(kThreads);
  for (int t = 0; t < kThreads; ++t) expected.push_back(run(t, 1));
  for (int round = 0; round < 3; ++round) {
    on_threads([&](int t) { got[static_cast<std::size_t>(t)] = run(t, 2); });
    EXPECT_EQ(got, expected);
  }
}

TEST(Concurrency, RunnersShareOneModel) {
  const LoadedModel loaded = load_model(quantized());
  loaded.model->prepare(Execution::kInteger, kernels::kernels_for(best_isa()));  // once; the runners find it done
  const std::int64_t classes = loaded.model->config().num_classes;
  std::vector<AlignedBuffer<float>> images;
  for (int i = 0; i < 6; ++i) images.push_back(image_of(*loaded.model, i));
  const auto run = [&] {
    Runner runner(*loaded.model, Execution::kInteger, best_isa(), 2);
    std::vector<float> all(static_cast<std::size_t>(6 * classes));
    runner.run_each(
        6,
        [&](std::int64_t i, float* image) {
          std::copy(images[static_cast<std::size_t>(i)].begin(), images[static_cast<std::size_t>(i)].end(), image);
          return true;
        },
        [&](std::int64_t i, std::span<const float> logits) {
          std::copy(logits.begin(), logits.end(), all.begin() + i * classes);
        });
    return all;
  };
  const std::vector<float> expected = run();
  on_threads([&](int) { EXPECT_EQ(run(), expected); });
}

}  // namespace
}  // namespace igq
