// The report of the golden detector: its numbers, its page, and what does not fit together.
#include "report/detector_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "io/png_writer.h"
#include "io/safetensors.h"
#include "report/card.h"
#include "tests/detectors/small_detector.h"
#include "tests/test_util.h"

namespace igq::report {
namespace {

using nlohmann::json;

const std::filesystem::path kGolden = IGQ_SOURCE_DIR "/tests/fixtures/igq/v3.igq";

class DetectorReportTest : public testing::Test {
 protected:
  DetectorReportTest() {
    std::ofstream(folder_.path() / "config.json") << test::corpus("mask_rcnn");
    write_safetensors(folder_.path() / "model.safetensors", test::weights(false), true);
    for (int i = 0; i < 3; ++i) {
      options_.pictures.push_back(folder_.path() / fmt::format("{}.png", i));
      test::write_text(options_.pictures.back(), encode_png(test::picture(60 - 8 * i, 44 + 4 * i)));
    }
    options_.file_bytes = std::filesystem::file_size(kGolden);
    options_.speed = false;
    options_.threads = 1;
  }

  test::TemporaryFolder folder_;
  DetectorReportOptions options_;
};

std::size_t count_of(const std::string& text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST_F(DetectorReportTest, CardsShowWhatWasMeasuredAndHowItWasMade) {
  const LoadedDetector model = load_detector(kGolden), original = load_detector(folder_.path());
  DetectorReportData data = collect_detector_report(model, &original, options_);
  const std::string card = model_card(data);
  EXPECT_TRUE(card.starts_with("---\nlibrary_name: igq\npipeline_tag: image-segmentation\n"));
  EXPECT_EQ(count_of(card, fmt::format(
                               "| objects of the float model that are found again | {} of {} ({:.1f} %) | 3 pictures |",
                               data.agreement->found, data.agreement->objects, data.agreement->found_percent())),
            1u);
  EXPECT_EQ(count_of(card, fmt::format("| AP of masks, float's objects as the truth | {:.1f} | 3 pictures |",
                                       data.agreement->mask_ap)),
            1u);
  for (const std::string& part : {data.provenance.source_checksum, data.provenance.calibration_checksum,
                                  std::string("--from v3.igq -o again.igq"), std::string("igq.Detector(\"v3.igq\")")})
    EXPECT_EQ(count_of(card, part), 1u) << part;
  EXPECT_EQ(count_of(card, "was not measured"), 0u);
  // Without a float model it is the verdict that the file remembers; without that the card says so.
  options_.pictures.clear();
  data = collect_detector_report(model, nullptr, options_);
  ASSERT_TRUE(data.agreement);
  EXPECT_EQ(count_of(model_card(data), "1 calibration picture"), 6u);
  data.agreement.reset();
  EXPECT_EQ(count_of(model_card(data), "What it loses was not measured"), 1u);
  data.masks = false;
  data.labels = {"a|b", "<i>"};
  EXPECT_EQ(count_of(model_card(data), "pipeline_tag: object-detection\n"), 1u);
  EXPECT_EQ(count_of(model_card(data), "a\\|b, \\<i\\>"), 1u);
}

TEST_F(DetectorReportTest, ShowsPartsAndPicturesSideBySide) {
  const LoadedDetector model = load_detector(kGolden), original = load_detector(folder_.path());
  const DetectorReportData data = collect_detector_report(model, &original, options_);
  EXPECT_EQ(data.pictures_seen, 3);
  EXPECT_EQ(data.pictures.size(), 3u);
  EXPECT_EQ(data.noise_images, 3);
  ASSERT_TRUE(data.agreement && data.agreement_on_data);
  EXPECT_EQ(data.agreement->images, 3);
  std::int64_t objects = 0, found = 0;
  for (const DetectorPicture& p : data.pictures) {
    objects += p.objects;
    found += p.found;
    EXPECT_TRUE(p.original.starts_with("\x89PNG") && p.integer.starts_with("\x89PNG"));
  }
  EXPECT_EQ(data.agreement->objects, objects);
  EXPECT_EQ(data.agreement->found, found);
  ASSERT_GT(objects, 0);

  // Parts: every site is in one, and a part's noise is the mean over its sites.
  const std::vector<PartNoise> parts = noise_of_parts(data);
  int sites = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    sites += parts[i].sites;
    EXPECT_GE(parts[i > 0 ? i - 1 : 0].mean_percent, parts[i].mean_percent);
    double sum = 0.0, worst = 1e9;
    for (const SiteRow& s : data.sites)
      if (part_of(s.name) == parts[i].part && s.alone) {
        sum += 100.0 * std::pow(10.0, -*s.alone / 10.0);
        worst = std::min(worst, *s.alone);
      }
    ASSERT_GT(parts[i].measured, 0) << parts[i].part;
    EXPECT_NEAR(parts[i].mean_percent * parts[i].measured, sum, 1e-9 * sum);
    EXPECT_EQ(parts[i].worst_db, worst);
  }
  EXPECT_EQ(sites, static_cast<int>(data.sites.size()));
  const auto has = [&](const char* part) {
    return std::any_of(parts.begin(), parts.end(), [&](const PartNoise& p) { return p.part == part; });
  };
  for (const char* part : {"backbone", "neck", "rpn_head", "roi_head.bbox_head", "roi_head.mask_head"})
    EXPECT_TRUE(has(part)) << part;

  const std::string page = detector_report_html(data);
  EXPECT_EQ(count_of(page, "<img"), 6u);
  for (const char* tag : {"section", "figure", "table", "div", "main"})
    EXPECT_EQ(count_of(page, fmt::format("<{}>", tag)) + count_of(page, fmt::format("<{} ", tag)),
              count_of(page, fmt::format("</{}>", tag)))
        << tag;
  for (const char* bad : {">nan", " nan", "(nan", "\"nan"}) EXPECT_EQ(page.find(bad), std::string::npos) << bad;
  EXPECT_EQ(page.find("<script"), std::string::npos);
  const json document = detector_report_json(data);
  EXPECT_EQ(document.at("agreement").at("found"), found);
  EXPECT_EQ(document.at("parts").size(), parts.size());
}

TEST_F(DetectorReportTest, WithoutFloatShowsWhatTheFileRemembers) {
  const LoadedDetector model = load_detector(kGolden);
  options_.pictures.resize(1);
  const DetectorReportData data = collect_detector_report(model, nullptr, options_);
  ASSERT_TRUE(data.agreement);
  EXPECT_FALSE(data.agreement_on_data);
  EXPECT_EQ(agreement_to_json(*data.agreement).at("objects"), model.report.at("agreement").at("objects"));
  EXPECT_EQ(data.noise_images, model.report.at("noise").at("images"));
  ASSERT_EQ(data.pictures.size(), 1u);
  EXPECT_TRUE(data.pictures[0].original.empty());
  EXPECT_EQ(count_of(detector_report_html(data), "<img"), 1u);
  options_.pictures.clear();
  const std::string page = detector_report_html(collect_detector_report(model, nullptr, options_));
  EXPECT_NE(page.find("--data-dir"), std::string::npos);
}

TEST_F(DetectorReportTest, TheSpeedIsThatOfAPictureInTurn) {
  const LoadedDetector model = load_detector(kGolden);
  options_.pictures.resize(1);
  options_.speed = true;
  const DetectorReportData data = collect_detector_report(model, nullptr, options_);
  ASSERT_TRUE(data.speed);
  EXPECT_GT(data.speed->float_ms, 0.0);
  EXPECT_GT(data.speed->integer_ms, 0.0);
  EXPECT_GE(data.speed->rounds, 5);
}

TEST_F(DetectorReportTest, WhatDoesNotFitIsAnError) {
  const LoadedDetector model = load_detector(kGolden), original = load_detector(folder_.path());
  EXPECT_THROW(collect_detector_report(original, nullptr, options_), Error);
  EXPECT_THROW(collect_detector_report(model, &model, options_), Error);
  options_.pictures.push_back(folder_.path() / "missing.png");
  EXPECT_THROW(collect_detector_report(model, &original, options_), Error);
  LoadedDetector broken = load_detector(kGolden);
  broken.report["agreement"]["found"] = "many";
  EXPECT_THROW(collect_detector_report(broken, nullptr, {}), Error);
}

}  // namespace
}  // namespace igq::report
