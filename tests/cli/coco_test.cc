// igq eval --coco on files written here and on those beside the project.
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace igq::test {
namespace {

/// Two images, one object each; detections of one of them, exact.
class CocoCliTest : public testing::Test {
 protected:
  void SetUp() override {
    write(
        "annotations.json",
        R"({"images": [{"id": 1, "height": 20, "width": 30, "file_name": "a.png"}, {"id": 2, "height": 20, "width": 30}],
              "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
              "annotations": [
                {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 0, "area": 100, "bbox": [2, 3, 10, 10],
                 "segmentation": [[2, 3, 12, 3, 12, 13, 2, 13]]},
                {"id": 2, "image_id": 2, "category_id": 3, "iscrowd": 0, "area": 100, "bbox": [2, 3, 10, 10],
                 "segmentation": [[2, 3, 12, 3, 12, 13, 2, 13]]}]})");
    write("boxes.json", R"([{"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [2, 3, 10, 10]}])");
    write("unknown.json", R"([{"image_id": 1, "category_id": 9, "score": 0.5, "bbox": [2, 3, 10, 10]}])");
    write("empty.json", "[]");
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_.path() / name) << text; }
  Output eval(const std::string& arguments) const { return igq("eval " + arguments, folder_.path()); }

  TemporaryFolder folder_;
};

TEST_F(CocoCliTest, BoxesOfAResultFile) {
  const Output result = eval("--coco annotations.json --detections boxes.json --json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json figures = result.json().at("bbox");
  EXPECT_FALSE(result.json().contains("segm"));
  // Half the objects found without a false alarm: precision 1 at the 51 points of recall up to 0.5.
  EXPECT_DOUBLE_EQ(figures.at("AP").get<double>(), 51.0 / 101.0);
  EXPECT_EQ(figures.at("AR100").get<double>(), 0.5);
  EXPECT_EQ(figures.at("APl").get<double>(), -1.0);
  EXPECT_EQ(figures.at("stats").size(), 12u);
  EXPECT_EQ(figures.at("AP_per_category").at("5").get<double>(), -1.0);
}

TEST_F(CocoCliTest, BoxesAsMasksWhereTheFileHasNone) {
  const Output result = eval("--coco annotations.json --detections boxes.json --iou-type bbox,segm --json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().at("segm").at("AP"), result.json().at("bbox").at("AP"));
}

TEST_F(CocoCliTest, NothingFoundIsZero) {
  const Output result = eval("--coco annotations.json --detections empty.json --json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().at("bbox").at("AP").get<double>(), 0.0);
}

TEST_F(CocoCliTest, UnknownCategoriesAreLeftOutAndNamed) {
  const Output result = eval("--coco annotations.json --detections unknown.json --json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json().at("bbox").at("AP").get<double>(), 0.0);
  EXPECT_NE(result.err.find("1 detections are of categories"), std::string::npos) << result.err;
}

TEST_F(CocoCliTest, UsageAndFaultsAreOneLine) {
  EXPECT_EQ(eval("--coco annotations.json").exit_code, 2);
  EXPECT_EQ(eval("--detections boxes.json").exit_code, 2);
  EXPECT_EQ(eval("--coco annotations.json --detections boxes.json --iou-type mask").exit_code, 2);
  EXPECT_EQ(eval("--coco annotations.json --detections boxes.json --limit 3").exit_code, 2);
  EXPECT_EQ(eval("model --coco annotations.json --detections boxes.json").exit_code, 2);
  for (const char* files :
       {"--coco boxes.json --detections boxes.json", "--coco annotations.json --detections nothing.json",
        "--coco annotations.json --detections annotations.json"}) {
    const Output result = eval(files);
    EXPECT_EQ(result.exit_code, 1) << files;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace igq::test
