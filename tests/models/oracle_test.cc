// Every fixture of tests/fixtures/models against the logits that timm or transformers gives for the same file.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/load_model.h"
#include "models/runner.h"
#include "tests/npy.h"
#include "tests/test_util.h"

namespace igq {
namespace {

std::vector<std::string> fixture_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(test::fixtures() / "models")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Oracle : public testing::TestWithParam<std::string> {};

TEST_P(Oracle, FloatLogitsAgree) {
  const auto folder = test::fixtures() / "models" / GetParam();
  const LoadedModel loaded = load_model(folder);
  const ModelConfig& config = loaded.model->config();
  const test::Npy input = test::read_npy(folder / "input.npy"), expected = test::read_npy(folder / "logits.npy");
  ASSERT_EQ(input.shape, (std::vector<std::int64_t>{2, 3, config.image_height, config.image_width}));
  ASSERT_EQ(expected.shape, (std::vector<std::int64_t>{2, config.num_classes}));
  EXPECT_EQ(loaded.name, GetParam());
  EXPECT_FALSE(loaded.quantized);

  const std::vector<float> images = input.as<float>(), want = expected.as<float>();
  std::vector<float> got(want.size());
  Runner runner(*loaded.model, Execution::kFloat, best_isa(), 1);
  runner.run_batch(images.data(), 2, got.data());
  const double largest = test::largest_size(want), difference = test::largest_difference(got, want);
  ASSERT_TRUE(std::isfinite(largest));
  EXPECT_LE(difference, 1e-4 * largest);
  RecordProperty("relative_difference", testing::PrintToString(difference / largest));
}

std::string name_of(const testing::TestParamInfo<std::string>& fixture) { return fixture.param; }
INSTANTIATE_TEST_SUITE_P(Models, Oracle, testing::ValuesIn(fixture_names()), name_of);

TEST(OracleFixtures, AreAllThere) { EXPECT_GE(fixture_names().size(), 37u); }

}  // namespace
}  // namespace igq
