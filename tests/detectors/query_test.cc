// YOLOS and DETR on the fixtures beside the project.
#include <gtest/gtest.h>

#include "detectors/detr.h"
#include "detectors/yolos.h"
#include "io/memory_tensors.h"
#include "io/safetensors.h"
#include "tests/detectors/fixture.h"

namespace igq {
namespace {

using test::channels_first;
using test::copy_of;
using test::expect_near;

/// Input, outputs and objects; `pixels`: how far a box may be off.
void expect_equal(test::DetectorFixture& f, float pixels) {
  const auto& pass = dynamic_cast<const QueryDetector::Pass&>(*f.state);
  const float threshold = f.expected.at("threshold").get<float>();
  const std::vector<Detection> found = f.detector->detect(f.context, f.image, threshold, *f.state);
  ASSERT_EQ(pass.resized.rgb, f.arrays.at("resized").as<std::uint8_t>());
  expect_near(f, "input", copy_of(pass.input));
  expect_near(f, "logits", copy_of(pass.logits));
  expect_near(f, "pred_boxes", copy_of(pass.boxes));
  for (const bool all : {false, true}) {
    const std::string name = all ? "all" : "det";
    std::vector<detection::Box> boxes;
    std::vector<float> scores;
    std::vector<int> labels;
    for (const Detection& d : all ? f.detector->detect(f.context, f.image, 0.0f, *f.state) : found) {
      boxes.push_back(d.box);
      scores.push_back(d.score);
      labels.push_back(d.label);
    }
    const std::vector<float> want = f.floats(name + "_boxes");
    const std::vector<std::size_t> places = test::match_sets(boxes, scores, labels, want, f.floats(name + "_scores"),
                                                             test::ints(f.arrays, name + "_labels"), pixels);
    EXPECT_EQ(places.size(), want.size() / 4) << name;
  }
}

TEST(Yolos, EqualsTransformers) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  for (const char* name : {"yolos", "yolos_tiny_style"}) {
    SCOPED_TRACE(name);
    test::DetectorFixture f(shared / "data" / "detection" / name);
    expect_equal(f, 0.02f);
    // Step by step.
    const auto& yolos = dynamic_cast<const Yolos&>(*f.detector);
    auto& state = dynamic_cast<Yolos::Tokens&>(*f.state);
    state.vit.image = state.input.data();
    for (int step = 0; step < yolos.vit().steps(); ++step) {
      yolos.vit().run_step(f.context, step, state.vit);
      if (step + 1 == yolos.vit().steps())
        expect_near(f, "last_hidden_state", copy_of(state.vit.features.front().values));
      else
        expect_near(f, fmt::format("hidden{}", step), copy_of(state.vit.x));
    }
  }
}

TEST(Detr, EqualsTransformersUnderBothNames) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  const auto data = shared / "data" / "detection";
  const test::TemporaryFolder timm;
  std::filesystem::copy(data / "detr_timm_names", timm.path(), std::filesystem::copy_options::recursive);
  std::filesystem::copy(data / "detr" / "preprocessor_config.json", timm.path() / "preprocessor_config.json");
  std::vector<float> first;
  for (const auto& weights : {data / "detr", timm.path()}) {
    SCOPED_TRACE(weights.string());
    test::DetectorFixture f(data / "detr", weights);
    expect_equal(f, 0.02f);
    const auto& state = dynamic_cast<const Detr::Memory&>(*f.state);
    for (std::size_t i = 0; i < 4; ++i) expect_near(f, fmt::format("backbone{}", i), channels_first(state.maps[i]));
    const FeatureMap& last = state.maps.back();
    FeatureMap projected;
    projected.take(last.height, last.width,
                   static_cast<int>(state.projected.size() / static_cast<std::size_t>(last.pixels())));
    std::copy(state.projected.begin(), state.projected.end(), projected.values.begin());
    expect_near(f, "projected", channels_first(projected));
    for (std::size_t i = 0; i < state.encoder.size(); ++i)
      expect_near(f, fmt::format("encoder{}", i + 1), copy_of(state.encoder[i]));
    for (std::size_t i = 0; i < state.decoder.size(); ++i)
      expect_near(f, fmt::format("decoder{}", i + 1), copy_of(state.decoder[i]));
    expect_near(f, "last_hidden_state", copy_of(state.hidden));
    if (first.empty()) first = copy_of(state.logits);
    EXPECT_EQ(copy_of(state.logits), first);
  }
}

/// A copy of a model under the module names of transformers 5.
void rename_model(const std::filesystem::path& from, const std::filesystem::path& to,
                  const std::vector<std::pair<std::string, std::string>>& rules) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  const auto stored = open_safetensors(from / "model.safetensors");
  MemoryTensors renamed("renamed");
  bool changed = false;
  for (const auto& [name, shape] : stored->shapes()) {
    std::string now = name;
    for (const auto& [old_part, new_part] : rules)
      if (const auto at = now.find(old_part); at != std::string::npos) now.replace(at, old_part.size(), new_part);
    changed = changed || now != name;
    renamed.add(now, shape, stored->read(name));
  }
  ASSERT_TRUE(changed);
  write_safetensors(to / "model.safetensors", renamed, true);
}

TEST(QueryDetectors, NamesOfTransformers5) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  const std::vector<std::pair<std::string, std::string>> yolos = {
      {"encoder.mid_position_embeddings", "encoder.interpolation.mid_position_embeddings"}};
  const std::vector<std::pair<std::string, std::string>> detr = {
      {"_attn.out_proj", "_attn.o_proj"}, {".fc1.", ".mlp.fc1."}, {".fc2.", ".mlp.fc2."}};
  for (const bool is_detr : {false, true}) {
    const auto data = shared / "data" / "detection" / (is_detr ? "detr" : "yolos");
    const test::TemporaryFolder folder;
    rename_model(data, folder.path() / "renamed", is_detr ? detr : yolos);
    test::DetectorFixture f(data, folder.path() / "renamed");
    expect_equal(f, 0.02f);
  }
}

TEST(QueryDetectors, SizesFollowTransformers) {
  QueryPreprocess p;  // 800, 1333
  EXPECT_EQ(query_size(p, 480, 640), (std::array<int, 2>{800, 1066}));
  EXPECT_EQ(query_size(p, 640, 480), (std::array<int, 2>{1066, 800}));
  EXPECT_EQ(query_size(p, 800, 900), (std::array<int, 2>{800, 900}));
  EXPECT_EQ(query_size(p, 400, 1000), (std::array<int, 2>{533, 1333}));
  EXPECT_EQ(query_size(p, 1, 3000), (std::array<int, 2>{1, 1333}));
  p.multiple = 16;
  EXPECT_EQ(query_size(p, 480, 640), (std::array<int, 2>{800, 1056}));
  EXPECT_EQ(query_size(p, 20, 2000), (std::array<int, 2>{16, 1328}));
}

TEST(QueryDetectors, OddPicturesGiveValidResults) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  for (const char* name : {"yolos", "detr"}) {
    test::DetectorFixture f(shared / "data" / "detection" / name);
    for (const auto& [width, height] : std::vector<std::pair<int, int>>{{1, 1}, {300, 3}, {3, 300}}) {
      Image image;
      image.width = width;
      image.height = height;
      image.rgb.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 200);
      const auto all = f.detector->detect(f.context, image, 0.0f, *f.state);
      EXPECT_FALSE(all.empty());
      for (const Detection& d : all) EXPECT_TRUE(std::isfinite(d.box.x1) && std::isfinite(d.box.y2));
      EXPECT_TRUE(f.detector->detect(f.context, image, 1.0f, *f.state).empty());
    }
  }
}

}  // namespace
}  // namespace igq
