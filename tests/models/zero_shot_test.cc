// Labels by their text embeddings: the logits are logit_scale times the cosine to each.
#include "models/zero_shot.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "io/npy.h"
#include "tests/models/checkpoint_files.h"
#include "tests/npy.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

const fs::path kTower = fs::path(IGQ_SOURCE_DIR) / "tests/fixtures/towers/clip";

class ZeroShot : public testing::Test {
 protected:
  ZeroShot() : folder_(fs::temp_directory_path() / ("igq_zero_shot_" + std::to_string(::getpid()))) {
    fs::create_directory(folder_);
  }
  ~ZeroShot() override { fs::remove_all(folder_); }

  void write(int rows, int width, const std::string& names) {
    std::ofstream(folder_ / "names.txt") << names;
    std::ofstream out(folder_ / "text.npy", std::ios::binary);
    out << npy_header({rows, width});
    values_.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = std::sin(1.7f * static_cast<float>(i) + 0.3f);
    out.write(reinterpret_cast<const char*>(values_.data()), static_cast<std::streamsize>(values_.size() * 4));
  }
  ZeroShotLabels labels(double scale = 100.0) const { return {folder_ / "names.txt", folder_ / "text.npy", scale}; }
  void expect_error(LoadedModel& model, const std::string& text) const {
    try {
      add_zero_shot_head(model, labels());
      FAIL() << "no error; wanted: " << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  }
  fs::path folder_;
  std::vector<float> values_;
};

TEST_F(ZeroShot, LogitsAreScaledCosines) {
  LoadedModel model = load_model(kTower);
  const int width = embedding_width(model.model->config());
  const std::vector<float> images = test::read_npy(kTower / "input.npy").as<float>();
  std::vector<float> embedding(static_cast<std::size_t>(width));
  Runner(*model.model, Execution::kFloat, best_isa(), 1).run_batch(images.data(), 1, embedding.data());

  write(3, width, "a cat\n  two dogs \nthe sea");
  add_zero_shot_head(model, labels(20.0));
  EXPECT_EQ(model.model->config().labels, (std::vector<std::string>{"a cat", "two dogs", "the sea"}));
  std::vector<float> logits(3);
  Runner(*model.model, Execution::kFloat, best_isa(), 1).run_batch(images.data(), 1, logits.data());
  for (std::size_t row = 0; row < 3; ++row) {
    double product = 0.0, text = 0.0, image = 0.0;
    for (std::size_t i = 0; i < embedding.size(); ++i) {
      const double t = values_[row * embedding.size() + i], e = embedding[i];
      product += t * e;
      text += t * t;
      image += e * e;
    }
    EXPECT_NEAR(logits[row], 20.0 * product / std::sqrt(text * image), 1e-4);
  }
}

TEST_F(ZeroShot, WhatDoesNotFitIsRefused) {
  LoadedModel model = load_model(kTower);
  const int width = embedding_width(model.model->config());
  write(2, width, "a\nb\nc\n");
  expect_error(model, "must be [3, ");
  write(2, width + 1, "a\nb\n");
  expect_error(model, "must be [2, ");
  write(2, width, "a\n\nb\n");
  expect_error(model, "line 2 is empty");
  write(2, width, "a\na\n");
  expect_error(model, "stands in it twice");
  write(2, width, "a\nb\n");
  add_zero_shot_head(model, labels());
  expect_error(model, "has 2 classes of its own");
  fs::remove(folder_ / "text.npy");
  LoadedModel other = load_model(kTower);
  expect_error(other, "text.npy");
}

}  // namespace
}  // namespace igq
