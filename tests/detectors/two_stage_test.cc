// Every stage of mmdetection's detectors on the fixtures beside the project.
#include "detectors/two_stage.h"

#include <gtest/gtest.h>

#include "tests/detectors/fixture.h"

namespace igq {
namespace {

using test::channels_first;
using test::copy_of;
using test::expect_near;

std::vector<std::string> names() {
  return {"mask_rcnn", "mask_rcnn_odd", "mask_rcnn_even", "cascade_mask_rcnn", "cascade_mask_rcnn_agnostic"};
}

class TwoStageFixtures : public testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path folder() const {
    const auto shared = test::find_shared();
    return shared.empty() ? shared : shared / "data" / "detection" / GetParam();
  }
};

void expect_levels(const test::DetectorFixture& f, const std::string& name, const std::vector<FeatureMap>& maps) {
  for (std::size_t i = 0; i < maps.size(); ++i) expect_near(f, fmt::format("{}{}", name, i), channels_first(maps[i]));
}

TEST_P(TwoStageFixtures, EveryStageIsEqual) {
  if (folder().empty()) GTEST_SKIP() << test::kNoShared;
  test::DetectorFixture f(folder());
  const auto& detector = dynamic_cast<const TwoStage&>(*f.detector);
  auto& pass = dynamic_cast<TwoStage::Pass&>(*f.state);
  detector.preprocess(f.image, pass);
  const std::vector<std::uint8_t> resized = f.arrays.at("resized").as<std::uint8_t>();
  ASSERT_EQ(pass.resized.rgb, resized);
  EXPECT_EQ(copy_of(pass.input), f.floats("input"));
  detector.run_trunk(f.context, pass);
  expect_levels(f, "backbone", pass.backbone.features);
  expect_levels(f, "fpn", pass.pyramid);
  expect_levels(f, "rpn_cls", pass.rpn_scores);
  expect_levels(f, "rpn_reg", pass.rpn_deltas);

  // The heads on the original's proposals.
  pass.proposals.boxes = test::boxes_of(f.floats("proposals"));
  detector.run_box_heads(f.context, pass);
  if (!detector.config().cascade) {
    expect_near(f, "cls_logits", copy_of(pass.logits));
    expect_near(f, "bbox_deltas", copy_of(pass.stages[0].deltas));
    AlignedBuffer<float> features(4 * 49 * static_cast<std::size_t>(detector.config().channels));
    pool_rois(f.context, pass.pyramid, detector.config().box_roi,
              std::span<const detection::Box>(pass.proposals.boxes).first(4), features.data());
    std::vector<float> first;
    FeatureMap roi;
    for (std::size_t i = 0; i < 4; ++i) {
      roi.take(7, 7, detector.config().channels);
      std::copy_n(features.data() + i * roi.values.size(), roi.values.size(), roi.values.data());
      const std::vector<float> one = channels_first(roi);
      first.insert(first.end(), one.begin(), one.end());
    }
    expect_near(f, "roi_feats_first", first);
  } else {
    expect_near(f, "mean_cls_logits", copy_of(pass.logits));
    for (std::size_t s = 0; s < pass.stages.size(); ++s) {
      std::vector<float> rois;
      for (const detection::Box& b : pass.stages[s].rois) rois.insert(rois.end(), {b.x1, b.y1, b.x2, b.y2});
      expect_near(f, fmt::format("stage{}_rois", s), rois);
      expect_near(f, fmt::format("stage{}_cls_logits", s), copy_of(pass.stages[s].logits));
      expect_near(f, fmt::format("stage{}_bbox_deltas", s), copy_of(pass.stages[s].deltas));
    }
  }

  // The mask heads on its detections.
  pass.boxes = test::boxes_of(f.floats("det_boxes_input"));
  pass.scores = f.floats("det_scores");
  pass.labels = test::ints(f.arrays, "det_labels");
  detector.run_mask_heads(f.context, pass);
  if (!detector.config().cascade) {
    expect_near(f, "mask_logits", copy_of(pass.mask_logits[0]));
  } else {
    for (std::size_t s = 0; s < pass.mask_logits.size(); ++s)
      expect_near(f, fmt::format("stage{}_mask_logits", s), copy_of(pass.mask_logits[s]));
    expect_near(f, "mask_prob", copy_of(pass.mask_probabilities));
  }
}

/// Pixels in which two masks differ.
std::uint64_t differing(const detection::Rle& a, const detection::Rle& b) {
  const std::vector<std::uint8_t> x = detection::rle_to_mask(a), y = detection::rle_to_mask(b);
  std::uint64_t count = x.size() == y.size() ? 0 : x.size() + y.size();
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) count += x[i] != y[i] ? 1 : 0;
  return count;
}

void expect_same_detections(test::DetectorFixture& f) {
  const auto& pass = dynamic_cast<const TwoStage::Pass&>(*f.state);
  const std::vector<Detection> found =
      f.detector->detect(f.context, f.image, f.detector->default_threshold(), *f.state);
  test::match_sets(pass.proposals.boxes, pass.proposals.scores, {}, f.floats("proposals"), f.floats("proposal_scores"),
                   {});
  std::vector<detection::Box> boxes;
  std::vector<float> scores;
  std::vector<int> labels;
  for (const Detection& d : found) {
    boxes.push_back(d.box);
    scores.push_back(d.score);
    labels.push_back(d.label);
    EXPECT_TRUE(scores.size() < 2 || scores[scores.size() - 2] >= d.score);
  }
  const std::vector<std::size_t> places = test::match_sets(boxes, scores, labels, f.floats("det_boxes"),
                                                           f.floats("det_scores"), test::ints(f.arrays, "det_labels"));
  ASSERT_EQ(places.size(), found.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto& want = f.expected.at("masks_rle").at(i);
    const std::string text = want.is_string() ? want.get<std::string>() : want.at("counts").get<std::string>();
    ASSERT_TRUE(found[places[i]].mask.has_value());
    const detection::Rle& mask = *found[places[i]].mask;
    equal += detection::rle_to_text(mask) == text ? 1 : 0;
    EXPECT_LE(differing(mask, detection::rle_from_text(text, f.image.height, f.image.width, "fixture")), 2u) << i;
  }
  // A pixel within rounding of one half may flip.
  EXPECT_GE(equal + places.size() / 20 + 1, places.size());
  testing::Test::RecordProperty("equal_masks", static_cast<int>(equal));
}

TEST_P(TwoStageFixtures, TheSameObjectsAreFound) {
  if (folder().empty()) GTEST_SKIP() << test::kNoShared;
  test::DetectorFixture f(folder());
  expect_same_detections(f);
}

INSTANTIATE_TEST_SUITE_P(Detectors, TwoStageFixtures, testing::ValuesIn(names()),
                         [](const auto& fixture) { return fixture.param; });

TEST(TwoStageNames, OfficialNamesGiveTheSameBits) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  const auto data = shared / "data" / "detection";
  const test::TemporaryFolder folder;
  std::filesystem::copy(data / "mask_rcnn" / "config.json", folder.path() / "config.json");
  std::filesystem::copy(data / "mask_rcnn_official_names" / "model.safetensors", folder.path() / "model.safetensors");
  test::DetectorFixture a(data / "mask_rcnn"), b(data / "mask_rcnn", folder.path());
  const auto x = a.detector->detect(a.context, a.image, 0.05f, *a.state);
  const auto y = b.detector->detect(b.context, b.image, 0.05f, *b.state);
  ASSERT_EQ(x.size(), y.size());
  ASSERT_FALSE(x.empty());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(x[i].box, y[i].box);
    EXPECT_EQ(x[i].score, y[i].score);
    EXPECT_EQ(x[i].mask, y[i].mask);
  }
}

TEST(TwoStageBits, DoNotDependOnInstructionSetAndThreads) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  test::DetectorFixture f(shared / "data" / "detection" / "cascade_mask_rcnn");
  const auto first = f.detector->detect(f.context, f.image, 0.05f, *f.state);
  ASSERT_FALSE(first.empty());
  for (const Isa isa : {Isa::kReference, best_isa()})
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      ExecContext context;
      context.kernels = &kernels::kernels_for(isa);
      context.pool = &pool;
      const auto again = f.detector->detect(context, f.image, 0.05f, *f.state);
      ASSERT_EQ(again.size(), first.size());
      for (std::size_t i = 0; i < first.size(); ++i) {
        ASSERT_EQ(again[i].box, first[i].box);
        ASSERT_EQ(again[i].score, first[i].score);
        ASSERT_EQ(again[i].mask, first[i].mask);
      }
    }
}

TEST(TwoStageOddPictures, GiveValidResults) {
  const auto shared = test::find_shared();
  if (shared.empty()) GTEST_SKIP() << test::kNoShared;
  test::DetectorFixture f(shared / "data" / "detection" / "mask_rcnn");
  for (const auto& [width, height] : std::vector<std::pair<int, int>>{{1, 1}, {500, 5}, {5, 500}, {2, 3}}) {
    Image image;
    image.width = width;
    image.height = height;
    image.rgb.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 77);
    for (const Detection& d : f.detector->detect(f.context, image, 0.05f, *f.state)) {
      EXPECT_TRUE(d.score > 0.05f && d.score <= 1.0f);
      EXPECT_TRUE(d.box.x1 >= 0.0f && d.box.x2 <= static_cast<float>(width) * 1.001f);
      EXPECT_TRUE(d.box.y1 >= 0.0f && d.box.y2 <= static_cast<float>(height) * 1.001f);
      EXPECT_EQ(d.mask->height, height);
      EXPECT_EQ(d.mask->width, width);
    }
    EXPECT_TRUE(f.detector->detect(f.context, image, 1.0f, *f.state).empty());
  }
}

}  // namespace
}  // namespace igq
