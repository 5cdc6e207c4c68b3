// A real checkpoint, from JPEG files to logits: the ViT-S/14 beside the project against PyTorch on the same images.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "io/preprocess.h"
#include "models/load_model.h"
#include "models/runner.h"
#include "tests/npy.h"
#include "tests/test_util.h"

namespace igq {
namespace {

/// Every 33rd image of the list, which is sorted by class: some of each.
constexpr std::size_t kStride = 33;

/// test_files.txt: "file label" a line, in the order of the stored logits.
std::vector<std::filesystem::path> listed_files(const std::filesystem::path& shared) {
  std::ifstream in(shared / "data/vit_small_patch14_cifar10/test_files.txt");
  std::vector<std::filesystem::path> files;
  std::string file;
  for (int label = 0; in >> file >> label;) files.push_back(shared / "data/cifar10/test" / file);
  return files;
}

std::ptrdiff_t best(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

TEST(SharedVit, PredictsAndScoresAsPyTorch) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  const auto folder = shared / "data/vit_small_patch14_cifar10";
  const LoadedModel loaded = load_model(folder);
  const ModelConfig& config = loaded.model->config();
  EXPECT_EQ(config.labels.size(), 10u);
  EXPECT_EQ(config.image_height, 112);
  const auto files = listed_files(shared);
  const test::Npy oracle = test::read_npy(folder / "test_logits.npy");
  ASSERT_EQ(oracle.shape, (std::vector<std::int64_t>{static_cast<std::int64_t>(files.size()), 10}));
  ASSERT_GE(files.size(), 2000u);
  const std::vector<float> expected = oracle.as<float>();

  const std::size_t images = files.size() / kStride;
  std::vector<float> got(images * 10);
  Runner runner(*loaded.model, Execution::kFloat);
  runner.run_each(
      static_cast<std::int64_t>(images),
      [&](std::int64_t i, float* image) {
        const auto& file = files[static_cast<std::size_t>(i) * kStride];
        preprocess_file(file, config.preprocess, config.image_height, config.image_width, image);
        return true;
      },
      [&](std::int64_t i, std::span<const float> logits) {
        std::copy(logits.begin(), logits.end(), got.begin() + i * 10);
      });
  for (std::size_t i = 0; i < images; ++i) {
    const std::span<const float> want(expected.data() + i * kStride * 10, 10), have(got.data() + i * 10, 10);
    const double largest = test::largest_size(want);
    ASSERT_TRUE(std::isfinite(largest)) << files[i * kStride];
    EXPECT_EQ(best(want), best(have)) << files[i * kStride];
    EXPECT_LE(test::largest_difference(want, have), 1e-3 * largest) << files[i * kStride];
  }
}

}  // namespace
}  // namespace igq
