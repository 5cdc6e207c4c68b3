// COCO's metric on real and made-up annotations: all figures equal pycocotools' to the last bit.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "coco/dataset.h"
#include "coco/detections.h"
#include "coco/evaluate.h"
#include "coco/match.h"
#include "detection/rle.h"
#include "tests/npz.h"
#include "tests/test_util.h"

namespace igq::coco {
namespace {

using nlohmann::json;

struct Case {
  const char* name;
  const char* annotations;
  const char* boxes;
  const char* masks;
  const char* expected;
};

class SharedEvaluation : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto shared = test::find_shared();
    if (shared.empty()) GTEST_SKIP() << test::kNoShared;
    data_ = shared / "data";
    std::ifstream in(data_ / GetParam().expected);
    expected_ = json::parse(in);
  }
  Evaluation run(IouType type) const {
    const Needs needs{type == IouType::kBox, type == IouType::kMask};
    dataset_ = read_dataset(data_ / GetParam().annotations, needs);
    const Detections found =
        read_detections(data_ / (type == IouType::kBox ? GetParam().boxes : GetParam().masks), dataset_, needs);
    return evaluate(dataset_, found.list, type);
  }
  void compare(const Evaluation& result, const json& expected) const {
    for (std::size_t i = 0; i < kStatNames.size(); ++i)
      EXPECT_EQ(result.stats[i], expected.at(std::string(kStatNames[i])).get<double>()) << kStatNames[i];
    for (std::size_t k = 0; k < dataset_.categories.size(); ++k)
      EXPECT_EQ(result.category_precision[k],
                expected.at("AP_per_category").at(std::to_string(dataset_.categories[k].id)).get<double>())
          << dataset_.categories[k].name;
  }

  std::filesystem::path data_;
  json expected_;
  mutable Dataset dataset_;
};

TEST_P(SharedEvaluation, BoxesToTheLastBit) { compare(run(IouType::kBox), expected_.at("bbox")); }

TEST_P(SharedEvaluation, MasksToTheLastBit) { compare(run(IouType::kMask), expected_.at("segm")); }

TEST_P(SharedEvaluation, MasksOfAnnotations) {
  const Dataset dataset = read_dataset(data_ / GetParam().annotations, {true, true});
  ASSERT_FALSE(dataset.annotations.empty());
  for (const Annotation& object : dataset.annotations) {
    const json& expected = expected_.at("rle").at(std::to_string(object.id));
    EXPECT_EQ(object.mask, expected.at("counts").get<std::string>()) << "annotation " << object.id;
    const ImageInfo& image = dataset.images[static_cast<std::size_t>(object.image)];
    const detection::Rle rle = detection::rle_from_text(object.mask, image.height, image.width, "annotation");
    EXPECT_EQ(detection::rle_area(rle), expected.at("area").get<std::uint64_t>());
    EXPECT_EQ(detection::rle_box(rle), expected.at("bbox").get<XYWH>());
  }
}

TEST_P(SharedEvaluation, ArraysOfTheMadeUpSet) {
  if (GetParam().name != std::string("coco_eval")) GTEST_SKIP() << "only coco_eval comes with the arrays";
  const test::Npz arrays(data_ / "detection/coco_eval/expected.npz");
  for (const IouType type : {IouType::kBox, IouType::kMask}) {
    const std::string kind = type == IouType::kBox ? "bbox" : "segm";
    const Evaluation result = run(type);
    // Stored as float32.
    const auto precision = arrays.at(kind + "_precision").as<float>(), recall = arrays.at(kind + "_recall").as<float>();
    ASSERT_EQ(precision.size(), 3 * result.precision.size());
    for (std::size_t i = 0; i < result.precision.size(); ++i)
      ASSERT_EQ(static_cast<float>(result.precision[i]), precision[3 * i + 2]) << i;
    EXPECT_EQ(std::vector<float>(result.recall.begin(), result.recall.end()), recall);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sets, SharedEvaluation,
    testing::Values(Case{"coco_eval", "detection/coco_eval/annotations.json",
                         "detection/coco_eval/detections_bbox.json", "detection/coco_eval/detections_segm.json",
                         "detection/coco_eval/expected.json"},
                    Case{"coco_a", "coco_tiny/annotations/instances_a.json", "coco_tiny/detections_a_bbox.json",
                         "coco_tiny/detections_a_segm.json", "coco_tiny/expected_a.json"},
                    Case{"coco_b", "coco_tiny/annotations/instances_b.json", "coco_tiny/detections_b_bbox.json",
                         "coco_tiny/detections_b_segm.json", "coco_tiny/expected_b.json"}),
    [](const auto& set) { return std::string(set.param.name); });

}  // namespace
}  // namespace igq::coco
