// The public quantize(), compare() and ObjectDetector.
#include "igq/quantize.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "igq/detect.h"

namespace igq::test {
namespace {

namespace fs = std::filesystem;

QuantizeRequest small_request(const fs::path& folder) {
  QuantizeRequest request;
  request.model = IGQ_SOURCE_DIR "/assets/fashion_vit";
  request.calibration = IGQ_SOURCE_DIR "/assets/fashion_mnist/calibration";
  request.output = folder / "q.igq";
  request.samples = 4;
  request.held_back = 16;
  request.options = {{"bits", "w6a6"}, {"weights", "rtn"}};
  return request;
}

class PublicQuantize : public testing::Test {
 protected:
  PublicQuantize() : folder(fs::temp_directory_path() / ("igq_api_" + std::to_string(::getpid()))) {
    fs::create_directory(folder);
  }
  ~PublicQuantize() override { fs::remove_all(folder); }
  fs::path folder;
};

TEST_F(PublicQuantize, WritesAFileAndItsVerdict) {
  QuantizeRequest request = small_request(folder);
  std::int64_t calls = 0;
  request.progress = [&](const std::string& stage, std::int64_t done, std::int64_t total) {
    EXPECT_FALSE(stage.empty());
    EXPECT_LE(done, total);
    return ++calls > 0;
  };
  const nlohmann::json report = nlohmann::json::parse(quantize(request));
  EXPECT_GT(calls, 4);
  EXPECT_EQ(report.at("calibration_images"), 4);
  EXPECT_EQ(report.at("verdict").at("images"), 16);
  EXPECT_GT(report.at("verdict").at("agreement").get<double>(), 80.0);

  const nlohmann::json compared =
      nlohmann::json::parse(compare(request.model, request.output, request.calibration, 20));
  EXPECT_EQ(compared.at("images"), 20);
  EXPECT_GT(compared.at("logits_snr_db").get<double>(), 15.0);
  EXPECT_THROW(quantize(request), Error) << "the output exists";
}

TEST_F(PublicQuantize, StopsWhenToldTo) {
  QuantizeRequest request = small_request(folder);
  for (const int after : {1, 5, 9}) {
    int calls = 0;
    request.progress = [&](const std::string&, std::int64_t, std::int64_t) { return ++calls < after; };
    EXPECT_THROW(quantize(request), Cancelled);
    EXPECT_TRUE(fs::is_empty(folder));
  }
}

TEST_F(PublicQuantize, OptionsAreTheProgramsFlags) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"bits", "w1a1"},
                                                                                    {"colour", "red"},
                                                                                    {"views", "9x"},
                                                                                    {"views", "99"},
                                                                                    {"balance", "1"},
                                                                                    {"seed", "-1"},
                                                                                    {"scales", "some"},
                                                                                    {"ridge", "nan"},
                                                                                    {"keep", "("},
                                                                                    {"site-bits", "mlp"},
                                                                                    {"first-last-bits", "9"}}) {
    QuantizeRequest request = small_request(folder);
    request.options = {{name, value}};
    EXPECT_THROW(quantize(request), Error) << name << ' ' << value;
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(PublicDetector, SaysWhatIsNone) {
  EXPECT_FALSE(ObjectDetector::is_one(IGQ_SOURCE_DIR "/assets/fashion_vit"));
  EXPECT_THROW(ObjectDetector(IGQ_SOURCE_DIR "/assets/fashion_vit"), Error);
}

TEST(PublicDetector, FindsObjects) {
  const fs::path model = IGQ_SOURCE_DIR "/../shared/data/detection/mask_rcnn";
  if (!fs::exists(model)) GTEST_SKIP() << "needs ../shared/data/detection";
  ObjectDetector detector(model);
  std::vector<std::uint8_t> pixels(96 * 64 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 2654435761u >> 24);
  const auto found = detector.detect(ImageSource::from_pixels(pixels.data(), 64, 96), 0.0);
  ASSERT_FALSE(found.empty());
  for (const DetectedObject& object : found) {
    EXPECT_GE(object.box[0], 0.0);
    EXPECT_LE(object.box[0] + object.box[2], 96.5);
    EXPECT_GT(object.score, 0.0);
    EXPECT_EQ(object.mask_height, 64);
    EXPECT_EQ(object.mask.size(), 96u * 64u);
  }
  const std::vector<float> values(3 * 64 * 96);
  EXPECT_THROW(detector.detect(ImageSource::from_values(values)), Error);
}

}  // namespace
}  // namespace igq::test
