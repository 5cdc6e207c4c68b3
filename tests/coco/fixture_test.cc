// COCO's metric on the committed set (tests/fixtures/detection/coco): masks without boxes, so both kinds go by the
// masks.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "coco/evaluate.h"
#include "tests/test_util.h"

namespace igq::coco {
namespace {

TEST(CocoFixture, TwelveFiguresToTheLastBit) {
  const auto folder = test::fixtures() / "detection/coco";
  std::ifstream in(folder / "expected.json");
  const nlohmann::json expected = nlohmann::json::parse(in);
  const Dataset dataset = read_dataset(folder / "annotations.json", {true, true});
  const Detections found = read_detections(folder / "detections.json", dataset, {true, true});
  EXPECT_FALSE(found.has_boxes);
  std::int64_t categories = 0;
  const auto count = [&](std::int64_t) { ++categories; };
  EXPECT_EQ(evaluate(dataset, found.list, IouType::kBox, count).stats,
            (expected.at("bbox").get<std::array<double, 12>>()));
  EXPECT_EQ(evaluate(dataset, found.list, IouType::kMask, count).stats,
            (expected.at("segm").get<std::array<double, 12>>()));
  EXPECT_EQ(categories, 6);
}

}  // namespace
}  // namespace igq::coco
