// The embedded detector (assets/garment_mask_rcnn) on its scenes: COCO's AP of the float network, and what 8 and 4 bits
// leave of it.
#include <gtest/gtest.h>

#include "base/fail.h"
#include "coco/evaluate.h"
#include "detectors/detector_runner.h"
#include "pipeline/quantize_detector.h"
#include "tests/sanitized.h"
#include "tests/test_util.h"

namespace igq {
namespace {

// Sanitized code is fifty times as slow; there the paths matter, not the precision.
constexpr int kScenes = test::kSanitized ? 3 : 80, kCalibration = test::kSanitized ? 5 : 12;

std::filesystem::path asset(const std::string& name) { return std::filesystem::path(IGQ_SOURCE_DIR) / "assets" / name; }

coco::Dataset scenes() {
  coco::Dataset dataset = coco::read_dataset(asset("garment_scenes") / "annotations.json", {true, true});
  dataset.images.resize(kScenes);
  std::erase_if(dataset.annotations, [](const coco::Annotation& a) { return a.image >= kScenes; });
  return dataset;
}

struct Precision {
  double box = 0.0, mask = 0.0;
};

Precision precision_of(DetectorRunner& runner, const coco::Dataset& dataset) {
  std::vector<coco::Detection> found;
  for (int i = 0; i < kScenes; ++i) {
    const Image image =
        load_image(asset("garment_scenes") / "images" / dataset.images[static_cast<std::size_t>(i)].file_name);
    for (const Detection& d : runner.detect(image, runner.detector().evaluation_threshold()))
      found.push_back({i, dataset.category_of(runner.detector().category_id(d.label)), static_cast<double>(d.score),
                       static_cast<double>(detection::rle_area(*d.mask)), detection::xywh(d.box),
                       detection::rle_to_text(*d.mask)});
  }
  return {coco::evaluate(dataset, found, coco::IouType::kBox).stats[0],
          coco::evaluate(dataset, found, coco::IouType::kMask).stats[0]};
}

TEST(EmbeddedDetector, IntegersFindWhatFloatFinds) {
  const coco::Dataset dataset = scenes();
  LoadedDetector loaded = load_detector(asset("garment_mask_rcnn"));
  Precision exact;
  {
    DetectorRunner runner(*loaded.detector, Execution::kFloat, best_isa(), 2);
    exact = precision_of(runner, dataset);
  }
  if (!test::kSanitized) {
    EXPECT_GT(exact.box, 0.5);
    EXPECT_GT(exact.mask, 0.5);
  }
  std::vector<std::filesystem::path> files;
  for (int i = 1; i <= kCalibration; ++i)
    files.push_back(asset("garment_scenes") / "calibration" / fmt::format("{:04d}.jpg", i));
  const std::vector<std::filesystem::path> held(files.end() - 4, files.end());
  files.resize(kCalibration - 4);
  for (const int bits : {8, 4}) {
    if (test::kSanitized && bits == 8) continue;
    LoadedDetector fresh = load_detector(asset("garment_mask_rcnn"));
    QuantizeJob job;
    job.options = preset_options(Preset::kBest);
    job.options.weight_bits = job.options.activation_bits = bits;
    const DetectorReport report = quantize_detector(fresh, pictures_from_files(*fresh.detector, files, held), job,
                                                    DetectorScope::kAll, best_isa(), 2, 1);
    EXPECT_TRUE(report.held_back);
    EXPECT_EQ(report.agreement.images, 4);
    DetectorRunner runner(*fresh.detector, Execution::kInteger, best_isa(), 2);
    const Precision coded = precision_of(runner, dataset);
    EXPECT_GT(coded.box, 0.0);
    if (test::kSanitized) continue;
    EXPECT_GE(report.agreement.found_percent(), bits == 8 ? 95.0 : 80.0);
    EXPECT_GT(coded.box, exact.box - (bits == 8 ? 0.015 : 0.06));
    EXPECT_GT(coded.mask, exact.mask - (bits == 8 ? 0.015 : 0.06));
  }
}

}  // namespace
}  // namespace igq
