// Every stage after the networks on the fixtures of mmdetection's detectors: the stage's expected inputs in, its
// expected outputs out. Proposals and detections are compared as sets, because scores tie within rounding.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>

#include "base/json.h"
#include "detection/anchors.h"
#include "detection/deltas.h"
#include "detection/nms.h"
#include "detection/paste_mask.h"
#include "detection/roi_align.h"
#include "io/resize_opencv.h"
#include "tests/npz.h"
#include "tests/test_util.h"

namespace igq::detection {
namespace {

using nlohmann::json;

json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return json::parse(in);
}

struct Found {
  Box box;
  float score;
  int label;
};

/// Error text, empty when both hold the same boxes (0.02), scores (1e-3) and labels in any order.
std::string compare_sets(const std::vector<Found>& got, const std::vector<Found>& want) {
  if (got.size() != want.size()) return fmt::format("{} found, {} expected", got.size(), want.size());
  std::vector<char> used(got.size(), 0);
  for (const Found& w : want) {
    bool matched = false;
    for (std::size_t i = 0; i < got.size() && !matched; ++i) {
      const Found& g = got[i];
      matched = used[i] == 0 && g.label == w.label && std::fabs(g.score - w.score) < 1e-3f &&
                std::fabs(g.box.x1 - w.box.x1) < 0.02f && std::fabs(g.box.y1 - w.box.y1) < 0.02f &&
                std::fabs(g.box.x2 - w.box.x2) < 0.02f && std::fabs(g.box.y2 - w.box.y2) < 0.02f;
      if (matched) used[i] = 1;
    }
    if (!matched)
      return fmt::format("{} {} {} {} label {} score {} is missing", w.box.x1, w.box.y1, w.box.x2, w.box.y2, w.label,
                         w.score);
  }
  return {};
}

float sigmoid(float v) { return 1.0f / (1.0f + std::exp(-v)); }

Box box_at(const std::vector<float>& v, std::size_t i) { return {v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]}; }

class FixtureStages : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto shared = test::find_shared();
    if (shared.empty()) GTEST_SKIP() << test::kNoShared;
    folder_ = shared / "data" / "detection" / GetParam();
    arrays_.emplace(folder_ / "expected.npz");
    config_ = read_json(folder_ / "config.json");
    expected_ = read_json(folder_ / "expected.json");
  }
  std::vector<float> floats(const std::string& name) const { return arrays_->at(name).as<float>(); }
  const json& model() const { return config_.at("model"); }
  bool cascade() const { return arrays_->has("mean_cls_logits"); }
  float image_height() const { return expected_.at("img_shape")[0].get<float>(); }
  float image_width() const { return expected_.at("img_shape")[1].get<float>(); }

  std::filesystem::path folder_;
  std::optional<test::Npz> arrays_;
  json config_, expected_;
};

TEST_P(FixtureStages, PreprocessingByteForByte) {
  const Image photo = load_image(folder_ / "input.png");
  std::vector<int> scale;
  for (const json& step : config_.at("test_pipeline"))
    if (step.contains("scale")) scale = step.at("scale").get<std::vector<int>>();
  ASSERT_EQ(scale.size(), 2u);
  const ImageSize size = keep_ratio_size({photo.height, photo.width}, scale[0], scale[1], "input.png");
  ASSERT_EQ(size, (ImageSize{expected_.at("img_shape")[0], expected_.at("img_shape")[1]}));
  const Image resized = resize_opencv(photo, size.width, size.height);
  EXPECT_EQ(resized.rgb, arrays_->at("resized").as<std::uint8_t>());

  const json& preprocessor = model().at("data_preprocessor");
  const int divisor = preprocessor.at("pad_size_divisor");
  const int height = padded_to(size.height, divisor), width = padded_to(size.width, divisor);
  std::vector<float> chw(std::size_t{3} * height * width);
  normalize_padded(resized, preprocessor.at("mean").get<std::array<float, 3>>(),
                   preprocessor.at("std").get<std::array<float, 3>>(), height, width, chw.data());
  EXPECT_EQ(chw, floats("input"));
}

TEST_P(FixtureStages, ProposalsFromRpnOutputs) {
  const json& generator = model().at("rpn_head").at("anchor_generator");
  const auto ratios = generator.at("ratios").get<std::vector<float>>();
  const auto scales = generator.at("scales").get<std::vector<float>>();
  const auto strides = generator.at("strides").get<std::vector<float>>();
  const json& test = model().at("test_cfg").at("rpn");
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int> levels;
  for (std::size_t level = 0; level < strides.size(); ++level) {
    const std::vector<Box> base = base_anchors(strides[level], ratios, scales);
    const auto expected_base = floats("base_anchors" + std::to_string(level));
    ASSERT_EQ(expected_base.size(), 4 * base.size());
    for (std::size_t a = 0; a < base.size(); ++a) EXPECT_EQ(base[a], box_at(expected_base, a));

    const test::Npy cls = arrays_->at("rpn_cls" + std::to_string(level));
    const auto logits = cls.as<float>(), deltas = floats("rpn_reg" + std::to_string(level));
    const long count = static_cast<long>(base.size()), height = cls.shape[1], width = cls.shape[2];
    std::vector<float> level_scores(static_cast<std::size_t>(count * height * width));
    for (long i = 0; i < static_cast<long>(level_scores.size()); ++i)
      level_scores[i] = sigmoid(logits[i % count * height * width + i / count]);
    std::vector<int> order = order_by_score(level_scores);
    const auto most = test.at("nms_pre").get<std::size_t>();
    if (order.size() > most) order.resize(most);
    for (const int i : order) {
      float delta[4];
      for (int k = 0; k < 4; ++k) delta[k] = deltas[(i % count * 4 + k) * height * width + i / count];
      const Box anchor = anchor_at(base, strides[level], strides[level], static_cast<int>(width), i);
      const Box box = decode_delta({}, anchor, delta, image_width(), image_height());
      if (!(box.width() > 0 && box.height() > 0)) continue;
      boxes.push_back(box);
      scores.push_back(level_scores[static_cast<std::size_t>(i)]);
      levels.push_back(static_cast<int>(level));
    }
  }
  std::vector<Found> got, want;
  for (const int i : batched_nms(boxes, scores, levels, test.at("nms").at("iou_threshold"), test.at("max_per_img")))
    got.push_back({boxes[i], scores[i], 0});
  const auto proposals = floats("proposals"), proposal_scores = floats("proposal_scores");
  for (std::size_t i = 0; i < proposal_scores.size(); ++i)
    want.push_back({box_at(proposals, i), proposal_scores[i], 0});
  EXPECT_EQ(compare_sets(got, want), "");
}

TEST_P(FixtureStages, RoiAlignAndLevels) {
  if (cascade()) GTEST_SKIP() << "fixtures of cascades hold no features of their regions";
  const json& extractor = model().at("roi_head").at("bbox_roi_extractor");
  const auto proposals = floats("proposals"), expected = floats("roi_feats_first");
  const auto levels = arrays_->at("roi_levels").as<int>();
  const auto strides = extractor.at("featmap_strides").get<std::vector<float>>();
  const float finest = extractor.value("finest_scale", 56.0f);
  for (std::size_t i = 0; i < levels.size(); ++i)
    EXPECT_EQ(roi_level(box_at(proposals, i), finest, 4), levels[i]) << "proposal " << i;
  for (std::size_t r = 0; r < 4; ++r) {
    const test::Npy map = arrays_->at("fpn" + std::to_string(levels[r]));
    const auto chw = map.as<float>();
    const int channels = static_cast<int>(map.shape[0]), height = static_cast<int>(map.shape[1]),
              width = static_cast<int>(map.shape[2]);
    std::vector<float> hwc(chw.size());
    for (int p = 0; p < height * width; ++p)
      for (int c = 0; c < channels; ++c) hwc[p * channels + c] = chw[c * height * width + p];
    std::vector<float> out(std::size_t{49} * channels);
    const float scale = 1.0f / strides[static_cast<std::size_t>(levels[r])];
    roi_align({hwc.data(), height, width, channels}, scale, box_at(proposals, r), 7, out.data());
    for (int c = 0; c < channels; ++c)
      for (int p = 0; p < 49; ++p)
        ASSERT_NEAR(out[p * channels + c], expected[(r * channels + c) * 49 + p], 1e-5) << r << ' ' << c << ' ' << p;
  }
}

TEST_P(FixtureStages, DetectionsFromBoxHeadOutputs) {
  const auto logits = floats(cascade() ? "mean_cls_logits" : "cls_logits");
  const auto deltas = floats(cascade() ? "stage2_bbox_deltas" : "bbox_deltas");
  const auto rois = floats(cascade() ? "stage2_rois" : "proposals");
  const json& head = cascade() ? model().at("roi_head").at("bbox_head")[2] : model().at("roi_head").at("bbox_head");
  const json& test = model().at("test_cfg").at("rcnn");
  const bool agnostic = head.at("reg_class_agnostic");
  const int classes = head.at("num_classes");
  DeltaCoder coder;
  coder.stds = head.at("bbox_coder").at("target_stds").get<std::array<float, 4>>();
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int> labels;
  for (std::size_t r = 0; r < rois.size() / 4; ++r) {
    const float* row = logits.data() + r * (classes + 1);
    const float top = *std::max_element(row, row + classes + 1);
    float sum = 0.0f;
    for (int k = 0; k <= classes; ++k) sum += std::exp(row[k] - top);
    for (int k = 0; k < classes; ++k) {
      const float score = std::exp(row[k] - top) / sum;
      if (!(score > test.at("score_thr").get<float>())) continue;
      const float* delta = deltas.data() + (agnostic ? 4 * r : 4 * (r * classes + k));
      boxes.push_back(decode_delta(coder, box_at(rois, r), delta, image_width(), image_height()));
      scores.push_back(score);
      labels.push_back(k);
    }
  }
  std::vector<Found> got, want;
  for (const int i : batched_nms(boxes, scores, labels, test.at("nms").at("iou_threshold"), test.at("max_per_img")))
    got.push_back({boxes[i], scores[i], labels[i]});
  const auto det = floats("det_boxes_input"), det_scores = floats("det_scores");
  const auto det_labels = arrays_->at("det_labels").as<int>();
  for (std::size_t i = 0; i < det_scores.size(); ++i) want.push_back({box_at(det, i), det_scores[i], det_labels[i]});
  EXPECT_EQ(compare_sets(got, want), "");
}

TEST_P(FixtureStages, PastedMasksAndTheirText) {
  auto probabilities = floats(cascade() ? "mask_prob" : "mask_logits");
  if (!cascade()) std::transform(probabilities.begin(), probabilities.end(), probabilities.begin(), sigmoid);
  const auto boxes = floats("det_boxes");
  const int height = expected_.at("ori_shape")[0], width = expected_.at("ori_shape")[1];
  const auto bits = arrays_->at("mask_bits").as<std::uint8_t>();
  const std::size_t pixels = std::size_t{1} * height * width, row = (pixels + 7) / 8;
  std::size_t equal_texts = 0;
  for (std::size_t d = 0; d < boxes.size() / 4; ++d) {
    const float* square = probabilities.data() + d * 28 * 28;
    const auto mask = paste_mask(square, 28, box_at(boxes, d), height, width);
    int different = 0;
    for (std::size_t i = 0; i < pixels; ++i)
      different += mask[i] != ((bits[d * row + i / 8] >> (7 - i % 8)) & 1) ? 1 : 0;
    EXPECT_LE(different, 3) << "detection " << d;
    const Rle rle = paste_mask_rle(square, 28, box_at(boxes, d), height, width);
    EXPECT_EQ(rle, rle_from_mask(mask, height, width));
    const json& expected = expected_.at("masks_rle")[d];
    const std::string text = expected.is_object() ? expected.at("counts") : expected;
    equal_texts += rle_to_text(rle) == text ? 1 : 0;
    EXPECT_EQ(rle_to_text(rle_from_text(text, height, width, "expected")), text);
  }
  EXPECT_EQ(equal_texts, boxes.size() / 4);
}

INSTANTIATE_TEST_SUITE_P(All, FixtureStages,
                         testing::Values("mask_rcnn", "mask_rcnn_odd", "mask_rcnn_even", "cascade_mask_rcnn",
                                         "cascade_mask_rcnn_agnostic"),
                         [](const auto& fixture) { return std::string(fixture.param); });

}  // namespace
}  // namespace igq::detection
