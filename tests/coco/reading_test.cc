// Annotation and result files as they should not be: one clear error, or what pycocotools makes of them.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "coco/dataset.h"
#include "coco/detections.h"
#include "coco/evaluate.h"
#include "igq/error.h"
#include "tests/test_util.h"

namespace igq::coco {
namespace {

using nlohmann::json;

class Reading : public testing::Test {
 protected:
  static json image(int id) { return {{"id", id}, {"height", 4}, {"width", 5}, {"file_name", "x.jpg"}}; }
  static json object(int id, const json& segmentation) {
    return {{"id", id},
            {"image_id", 1},
            {"category_id", 1},
            {"iscrowd", 0},
            {"area", 4.0},
            {"bbox", {0, 0, 2.5, 2}},
            {"segmentation", segmentation}};
  }
  static json square() { return json::array({json::array({0, 0, 2, 0, 2, 2, 0, 2})}); }
  static json document() {
    return {{"images", {image(1)}},
            {"categories", {{{"id", 1}, {"name", "thing"}}}},
            {"annotations", {object(1, square())}}};
  }
  std::filesystem::path write(const std::string& text) const {
    const auto path = folder_.path() / "file.json";
    std::ofstream(path) << text;
    return path;
  }
  Dataset dataset(const json& value, Needs needs = {true, true}) const {
    return read_dataset(write(value.dump()), needs);
  }
  /// The error's text; empty when there is none.
  template <typename Body>
  static std::string error_of(Body&& body) {
    try {
      body();
    } catch (const Error& fault) {
      return fault.what();
    }
    return {};
  }
  std::string dataset_error(const json& value, Needs needs = {true, true}) const {
    return error_of([&] { dataset(value, needs); });
  }
  std::string detections_error(const json& value, Needs needs = {true, true}) const {
    const Dataset known = dataset(document());
    return error_of([&] { read_detections(write(value.dump()), known, needs); });
  }
  static void expect_part(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << '"' << text << "\" lacks \"" << part << '"';
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }

  test::TemporaryFolder folder_;
};

TEST_F(Reading, MasksInEveryForm) {
  json value = document();
  value["annotations"] = {object(1, square()), object(2, {{"size", {4, 5}}, {"counts", {0, 2, 2, 2, 14}}}),
                          object(3, {{"size", {4, 5}}, {"counts", "0220<"}})};
  const Dataset read = dataset(value);
  ASSERT_EQ(read.annotations.size(), 3u);
  for (const Annotation& annotation : read.annotations) EXPECT_EQ(annotation.mask, read.annotations[0].mask);
  EXPECT_EQ(read.annotations[0].box, (XYWH{0, 0, 2.5, 2}));
}

TEST_F(Reading, ImagesMayComeLast) {
  const json value = document();
  const std::string text = "{\"annotations\": " + value["annotations"].dump() +
                           ", \"info\": {\"images\": 3}, \"categories\": " + value["categories"].dump() +
                           ", \"images\": " + value["images"].dump() + "}";
  EXPECT_EQ(read_dataset(write(text), {true, true}).annotations[0].mask, dataset(value).annotations[0].mask);
}

TEST_F(Reading, ObjectsOfUnknownImagesAndCategoriesTakeNoPart) {
  json value = document();
  value["annotations"].push_back(object(2, square()));
  value["annotations"][1]["image_id"] = 7;
  value["annotations"].push_back(object(3, square()));
  value["annotations"][2]["category_id"] = 7;
  const Dataset read = dataset(value);
  EXPECT_EQ(read.annotations.size(), 1u);
  EXPECT_EQ(read.of_unknown_image, 1);
  EXPECT_EQ(read.of_unknown_category, 1);
}

TEST_F(Reading, ImpossibleAnnotationsAreNamed) {
  const auto with = [](const char* field, const json& v) {
    json value = document();
    value["annotations"][0][field] = v;
    return value;
  };
  expect_part(dataset_error(with("id", 1.5)), "annotations[0]: 'id' is not an integer");
  expect_part(dataset_error(with("iscrowd", 2)), "'iscrowd' is 2");
  expect_part(dataset_error(with("area", "big")), "'area' is not a number");
  expect_part(dataset_error(with("bbox", {1, 2, 3})), "'bbox' is not a list of four numbers");
  expect_part(dataset_error(with("segmentation", json::array())), "annotation 1: its segmentation is an empty list");
  expect_part(dataset_error(with("segmentation", json::array({json::array()}))), "a polygon has 0 numbers");
  expect_part(dataset_error(with("segmentation", json::array({json::array({1, 2, 3, 4})}))), "has 4 numbers");
  expect_part(dataset_error(with("segmentation", json::array({json::array({1, 2, 3, 4, 5, 6, 7})}))), "has 7 numbers");
  expect_part(dataset_error(with("segmentation", json::array({json::array({1, 2, 3, 4, 5, 1e300})}))),
              "the coordinate 1e+300");
  expect_part(dataset_error(with("segmentation", "none")), "neither polygons nor run lengths");
  expect_part(dataset_error(with("segmentation", {{"size", {5, 4}}, {"counts", {20}}})),
              "its mask is 4 x 5 pixels, its image 5 x 4");
  expect_part(dataset_error(with("segmentation", {{"size", {4, 5}}, {"counts", {19}}})), "add up to 19 pixels");
  expect_part(dataset_error(with("segmentation", {{"size", {4, 5}}, {"counts", {1, 2, 18}}})), "pass the 20 pixels");
  expect_part(dataset_error(with("segmentation", {{"size", {4, 5}}, {"counts", {-1, 21}}})), "'counts' is -1");
  expect_part(dataset_error(with("segmentation", {{"size", {4, 5}}, {"counts", "\x7f"}})), "not COCO's text");
  expect_part(dataset_error(with("segmentation", {{"size", {4, 5}}, {"counts", "o"}})), "middle of a number");
  // What an evaluation of boxes does not need may be anything.
  EXPECT_EQ(dataset_error(with("segmentation", json::array()), {true, false}), "");
  EXPECT_EQ(dataset_error(with("bbox", nullptr), {false, true}), "");
}

TEST_F(Reading, ImpossibleListsAreNamed) {
  json value = document();
  value["images"].push_back(image(1));
  expect_part(dataset_error(value), "images[1]: the image id 1 occurs twice");
  value = document();
  value["annotations"].push_back(object(1, square()));
  expect_part(dataset_error(value), "the annotation id 1 occurs twice");
  value = document();
  value["images"][0]["height"] = 0;
  expect_part(dataset_error(value), "'height' is 0");
  value["images"][0]["height"] = 100000;
  value["images"][0]["width"] = 100000;
  expect_part(dataset_error(value), "image 1: 100000 x 100000 pixels");
  value = document();
  value["images"] = {{"1", image(1)}};
  expect_part(dataset_error(value), "'images' is not a list");
  value.erase("images");
  expect_part(dataset_error(value), "has no list 'images'");
  expect_part(dataset_error(json::array({1})), "is a list; an annotation file is an object");
  expect_part(error_of([&] { read_dataset(write("{\"images\": [1]}"), {}); }), "images[0]: is not an object");
  expect_part(error_of([&] { read_dataset(write("{\"images\": ["), {}); }), "is not valid JSON");
  expect_part(error_of([&] { read_dataset(write(""), {}); }), "is not valid JSON");
  expect_part(error_of([&] { read_dataset(write("3"), {}); }), "single value");
  expect_part(error_of([&] { read_dataset(write("{\"images\": [{\"a\": " + std::string(100, '[')), {}); }),
              "nested deeper");
}

TEST_F(Reading, ImpossibleDetectionsAreNamed) {
  const json good = {{"image_id", 1}, {"category_id", 1}, {"score", 0.5}, {"bbox", {0, 0, 2, 2}}};
  const auto with = [&](const char* field, const json& v) {
    json bad = good;
    bad[field] = v;
    return json::array({good, bad});
  };
  EXPECT_EQ(detections_error(json::array({good})), "");
  EXPECT_EQ(detections_error(json::array()), "");
  expect_part(detections_error(with("image_id", 3)), "entry 1: is of the image 3");
  expect_part(detections_error(with("image_id", "1")), "'image_id' is not an integer");
  expect_part(detections_error(with("score", nullptr)), "'score' is not a number");
  expect_part(detections_error(with("bbox", json::array())), "'bbox' is not a list of four numbers");
  expect_part(detections_error(with("segmentation", {{"size", {9, 9}}, {"counts", {81}}})), "its mask is 9 x 9 pixels");
  expect_part(detections_error(json::array({json::object({{"image_id", 1}})})),
              "has neither 'bbox' nor 'segmentation'");
  expect_part(detections_error(json::array({5})), "is not an object");
  EXPECT_EQ(detections_error(with("segmentation", {{"size", {9, 9}}, {"counts", {81}}}), {true, false}), "");
}

TEST_F(Reading, WrittenDetectionsReadBackEqual) {
  const Dataset known = dataset(document());
  Detection detection;
  detection.score = 0.1;
  detection.box = {0.1, 1.0 / 3.0, 2.5, 3};
  detection.area = detection.box[2] * detection.box[3];
  detection.mask = known.annotations[0].mask;
  const auto path = folder_.path() / "results.json";
  write_detections(path, known, {detection, detection}, false);
  EXPECT_THROW(write_detections(path, known, {}, false), Error);
  const Detections read = read_detections(path, known, {true, true});
  ASSERT_EQ(read.list.size(), 2u);
  EXPECT_EQ(read.list[1].score, detection.score);
  EXPECT_EQ(read.list[1].box, detection.box);
  EXPECT_EQ(read.list[1].area, detection.area);
  EXPECT_EQ(read.list[1].mask, detection.mask);
  EXPECT_EQ(detections_carry(path), std::make_pair(true, true));
}

TEST(NumpySum, PairwiseAsNumpy) {
  // numpy.sum of 1 / (1 + arange(n)) for n = 7, 100, 1000.
  std::vector<double> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.0 / (1.0 + static_cast<double>(i));
  EXPECT_EQ(numpy_sum(values.data(), 7), 2.5928571428571425);
  EXPECT_EQ(numpy_sum(values.data(), 100), 5.187377517639621);
  EXPECT_EQ(numpy_sum(values.data(), 1000), 7.485470860550345);
}

}  // namespace
}  // namespace igq::coco
