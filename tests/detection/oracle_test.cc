// Each operation of a detector against pycocotools, torchvision and OpenCV (tests/fixtures/detection, made by
// tools/make_detection_fixtures.py), and what the fixtures do not hold.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "base/json.h"
#include "detection/anchors.h"
#include "detection/deltas.h"
#include "detection/nms.h"
#include "detection/paste_mask.h"
#include "detection/rle.h"
#include "detection/roi_align.h"
#include "igq/error.h"
#include "io/resize_opencv.h"
#include "tests/test_util.h"

namespace igq::detection {
namespace {

using nlohmann::json;

const json& cases(const char* operation) {
  static const json all = [] {
    std::ifstream in(test::fixtures() / "detection/operations.json");
    return json::parse(in);
  }();
  return all.at(operation);
}

std::vector<Box> boxes_of(const std::vector<float>& v) {
  std::vector<Box> boxes;
  for (std::size_t i = 0; i + 3 < v.size(); i += 4) boxes.push_back({v[i], v[i + 1], v[i + 2], v[i + 3]});
  return boxes;
}

TEST(Rle, PolygonsAsPycocotools) {
  for (const json& c : cases("polygons")) {
    const Rle rle =
        rle_from_polygon(c.at("polygon").get<std::vector<double>>(), c.at("height"), c.at("width"), "polygon");
    const auto text = c.at("counts").get<std::string>();
    EXPECT_EQ(rle_to_text(rle), text);
    EXPECT_EQ(rle_from_text(text, rle.height, rle.width, "text"), rle);
    EXPECT_EQ(rle_area(rle), c.at("area").get<std::uint64_t>());
    EXPECT_EQ(rle_box(rle), (c.at("box").get<std::array<double, 4>>()));
    EXPECT_EQ(rle_from_mask(rle_to_mask(rle), rle.height, rle.width), rle);
  }
}

TEST(Rle, OverlapsAndUnions) {
  for (const json& c : cases("overlaps")) {
    const int height = c.at("height"), width = c.at("width");
    const bool crowd = c.at("crowd").get<int>() != 0;
    std::vector<Rle> masks;
    for (const json& m : c.at("masks")) masks.push_back(rle_from_text(m.get<std::string>(), height, width, "mask"));
    EXPECT_EQ(rle_iou(masks[0], masks[1], crowd), c.at("mask_iou").get<double>());
    EXPECT_EQ(rle_to_text(rle_union(masks)), c.at("union").get<std::string>());
    const auto boxes = c.at("boxes").get<std::vector<std::array<double, 4>>>();
    EXPECT_EQ(box_iou(boxes[0], boxes[1], crowd), c.at("box_iou").get<double>());
  }
  EXPECT_EQ(rle_iou({2, 2, {0, 4}}, {4, 1, {0, 4}}, false), -1.0);
}

TEST(Rle, EmptyRunsJoinTheirNeighbours) {
  const std::vector<std::int64_t> runs = {0, 0, 3, 0, 1, 2, 0, 0};
  const Rle rle = rle_from_counts(runs, 2, 3, "runs");
  EXPECT_EQ(rle.counts, (std::vector<std::uint32_t>{4, 2}));
  EXPECT_THROW(rle_from_counts(std::vector<std::int64_t>{3}, 2, 3, "runs"), Error);
  EXPECT_THROW(rle_from_counts(std::vector<std::int64_t>{7}, 2, 3, "runs"), Error);
  EXPECT_THROW(rle_from_counts(std::vector<std::int64_t>{7, -1}, 2, 3, "runs"), Error);
}

TEST(Nms, AsTorchvision) {
  for (const json& c : cases("nms")) {
    const auto boxes = boxes_of(c.at("boxes").get<std::vector<float>>());
    const auto scores = c.at("scores").get<std::vector<float>>();
    const auto ids = c.at("ids").get<std::vector<int>>();
    const float threshold = c.at("threshold");
    const auto kept = c.at("kept").get<std::vector<int>>(), by_id = c.at("kept_by_id").get<std::vector<int>>();
    EXPECT_EQ(nms(boxes, scores, threshold), kept);
    EXPECT_EQ(batched_nms(boxes, scores, ids, threshold), by_id);
    EXPECT_EQ(batched_nms(boxes, scores, ids, threshold, kKeepAll, 1), by_id);  // a pass per id
    const std::vector<int> best(by_id.begin(), by_id.begin() + std::min<std::ptrdiff_t>(5, std::ssize(by_id)));
    EXPECT_EQ(batched_nms(boxes, scores, ids, threshold, 5), best);
    EXPECT_EQ(batched_nms(boxes, scores, ids, threshold, 5, 1), best);
  }
}

TEST(Nms, TiesEmptyBoxesAndNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Box> boxes = {{0, 0, 10, 10}, {0, 0, 10, 10}, {5, 5, 5, 5}, {5, 5, 5, 5}, {nan, 0, 10, 10}};
  const std::vector<float> scores = {0.5f, 0.5f, 0.5f, 0.5f, nan};
  EXPECT_EQ(nms(boxes, scores, 0.5f), (std::vector<int>{0, 2, 3, 4}));
  EXPECT_TRUE(nms({}, {}, 0.5f).empty());
  EXPECT_TRUE(batched_nms({}, {}, {}, 0.5f).empty());
}

TEST(RoiAlign, AsTorchvision) {
  for (const json& c : cases("roi_align")) {
    const auto features = c.at("features").get<std::vector<float>>(), pooled = c.at("pooled").get<std::vector<float>>();
    const int channels = c.at("channels"), bins = c.at("bins");
    const FeatureMap map{features.data(), c.at("height"), c.at("width"), channels};
    std::vector<float> out(static_cast<std::size_t>(bins * bins * channels));
    std::size_t at = 0;
    for (const Box& roi : boxes_of(c.at("rois").get<std::vector<float>>())) {
      roi_align(map, 1.0f / c.at("stride").get<float>(), roi, bins, out.data());
      for (const float v : out) EXPECT_NEAR(v, pooled[at++], 1e-6f * 4);
    }
    EXPECT_EQ(at, pooled.size());
    roi_align(map, 1.0f, {0, 0, std::numeric_limits<float>::infinity(), 1}, bins, out.data());
    for (const float v : out) EXPECT_EQ(v, 0.0f);
  }
}

TEST(RoiAlign, Levels) {
  EXPECT_EQ(roi_level({0, 0, 111, 111}, 56, 4), 0);
  EXPECT_EQ(roi_level({0, 0, 112, 112}, 56, 4), 1);
  EXPECT_EQ(roi_level({0, 0, 448, 448}, 56, 4), 3);
  EXPECT_EQ(roi_level({0, 0, 4480, 4480}, 56, 4), 3);
  EXPECT_EQ(roi_level({5, 5, 5, 9}, 56, 4), 0);
}

TEST(Resize, AsOpencv) {
  for (const json& c : cases("resize")) {
    const Image image{c.at("width"), c.at("height"), c.at("pixels").get<std::vector<std::uint8_t>>()};
    const Image resized = resize_opencv(image, c.at("to_width"), c.at("to_height"));
    EXPECT_EQ(resized.rgb, c.at("resized").get<std::vector<std::uint8_t>>()) << image.width << " x " << image.height;
  }
}

TEST(Resize, SizesThatKeepTheAspect) {
  EXPECT_EQ(keep_ratio_size({480, 640}, 1333, 800, "x"), (ImageSize{800, 1067}));
  EXPECT_EQ(keep_ratio_size({640, 480}, 800, 1333, "x"), (ImageSize{1067, 800}));
  EXPECT_EQ(keep_ratio_size({1, 1}, 1333, 800, "x"), (ImageSize{800, 800}));
  EXPECT_EQ(keep_ratio_size({20, 10000}, 1333, 800, "x"), (ImageSize{3, 1333}));
  EXPECT_THROW(keep_ratio_size({1, 100000}, 1333, 800, "x"), Error);
  EXPECT_THROW(keep_ratio_size({10, 10}, 100000, 100000, "x"), Error);
}

TEST(Deltas, DecodeUndoesEncode) {
  DeltaCoder coder;
  coder.stds = {0.1f, 0.1f, 0.2f, 0.2f};
  const Box reference{10, 20, 50, 40}, target{12, 15, 70, 60};
  const auto delta = encode_delta(coder, reference, target);
  const Box box = decode_delta(coder, reference, delta.data(), 1000, 1000);
  EXPECT_NEAR(box.x1, target.x1, 1e-4);
  EXPECT_NEAR(box.y1, target.y1, 1e-4);
  EXPECT_NEAR(box.x2, target.x2, 1e-4);
  EXPECT_NEAR(box.y2, target.y2, 1e-4);
  const float wild[4] = {0, 0, 1e9f, -1e9f};
  const Box clipped = decode_delta(coder, reference, wild, 100, 90);
  EXPECT_EQ(clipped.x1, 0.0f);
  EXPECT_EQ(clipped.x2, 100.0f);
  EXPECT_NEAR(clipped.height(), 20 * 16.0 / 1000, 1e-4);
}

TEST(PasteMask, BitsAndRunsAgreeForOddBoxes) {
  std::vector<float> square(28 * 28);
  for (std::size_t i = 0; i < square.size(); ++i) square[i] = 0.5f + 0.5f * std::sin(0.37f * static_cast<float>(i));
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const Box& box :
       {Box{3.2f, 4.1f, 20.7f, 18.3f}, Box{-30, -5, 60, 40}, Box{7, 7, 7, 7}, Box{25, 12, 10, 3}, Box{-inf, 0, inf, 9},
        Box{nan, 0, 10, 10}, Box{100, 100, 200, 200}, Box{0, 0, 1e-20f, 3e38f}}) {
    const auto mask = paste_mask(square.data(), 28, box, 19, 23);
    EXPECT_EQ(paste_mask_rle(square.data(), 28, box, 19, 23), rle_from_mask(mask, 19, 23));
  }
}

}  // namespace
}  // namespace igq::detection
