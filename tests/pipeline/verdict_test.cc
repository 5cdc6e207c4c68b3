// What quantize says at the end: which images it is on, what it warns of, and a calibration that goes on where it was
// interrupted, to the same bytes.
#include "pipeline/verdict.h"

#include <gtest/gtest.h>

#include <fstream>
#include <cmath>
#include <limits>
#include <set>

#include "base/fail.h"
#include "base/file.h"
#include "pipeline/calibration_state.h"
#include "pipeline/quantize_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

Comparison comparison(std::int64_t images, std::int64_t agreements, std::vector<double> alone) {
  Comparison noise;
  noise.images = images;
  noise.agreements = agreements;
  noise.logits_snr = 20.0;
  for (std::size_t i = 0; i < alone.size(); ++i) noise.sites.push_back({"site." + std::to_string(i), alone[i], 30.0});
  return noise;
}

TEST(Verdict, NoWarningWhereNothingIsWrong) {
  const Verdict v = judge(comparison(40, 38, {30.0, 12.0, 20.0}), true);
  EXPECT_TRUE(v.warnings.empty());
  EXPECT_DOUBLE_EQ(v.agreement, 95.0);
  ASSERT_EQ(v.worst_sites.size(), 3u);
  EXPECT_EQ(v.worst_sites.front().site, "site.1");
  EXPECT_NE(verdict_text(v).find("held back"), std::string::npos);
  EXPECT_EQ(verdict_to_json(v).at("worst_sites").at(0).at("site"), "site.1");
}

TEST(Verdict, WarnsOfAgreementAndOfSites) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(judge(comparison(40, 37, {30.0}), true).warnings.size(), 1u);
  const Verdict v = judge(comparison(40, 20, {30.0, 9.9, -3.0, nan}), false);
  ASSERT_EQ(v.warnings.size(), 2u);
  EXPECT_NE(v.warnings[0].find("20 of 40"), std::string::npos);
  EXPECT_NE(v.warnings[1].find("3 of 4 sites"), std::string::npos);
  EXPECT_NE(v.warnings[1].find("site.2 -3.0 dB"), std::string::npos);
  EXPECT_EQ(verdict_text(v).find("held back"), std::string::npos);
  EXPECT_TRUE(judge(comparison(0, 0, {}), true).warnings.empty());
}

ImageFolder folder_of(int images) {
  ImageFolder folder;
  folder.classes = {"a", "b"};
  for (int i = 0; i < images; ++i) {
    const std::string name = "x" + std::to_string(1000 + i);
    folder.samples.push_back({name, name, i % 2});
  }
  return folder;
}

TEST(CalibrationSplit, HoldsBackWhatIsLeftOverAndNeverAnImageThatCalibrates) {
  const auto sizes = [](int images, int samples, int held_back) {
    const ImageFolder folder = folder_of(images);
    const CalibrationSplit split = split_calibration(folder, samples, held_back, 3);
    std::set<std::string> different;
    for (const auto* part : {&split.calibration, &split.held_back})
      for (const Sample& s : *part) different.insert(s.relative);
    EXPECT_EQ(different.size(), split.calibration.size() + split.held_back.size());
    return std::pair(split.calibration.size(), split.held_back.size());
  };
  using Sizes = std::pair<std::size_t, std::size_t>;
  EXPECT_EQ(sizes(100, 32, -1), Sizes(32, 32));
  EXPECT_EQ(sizes(45, 32, -1), Sizes(32, 13));
  EXPECT_EQ(sizes(35, 32, -1), Sizes(27, 8));  // 3 would tell too little
  EXPECT_EQ(sizes(20, 32, -1), Sizes(15, 5));
  EXPECT_EQ(sizes(15, 32, -1), Sizes(15, 0));
  EXPECT_EQ(sizes(1, 32, -1), Sizes(1, 0));
  EXPECT_EQ(sizes(32, 32, 0), Sizes(32, 0));
  EXPECT_EQ(sizes(100, 32, 50), Sizes(32, 50));
  EXPECT_EQ(sizes(10, 32, 50), Sizes(1, 9));
  // Whatever is held back, the same images calibrate.
  const ImageFolder folder = folder_of(100);
  const auto a = split_calibration(folder, 8, 0, 5).calibration, b = choose_samples(folder, 8, 5);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].relative, b[i].relative);
}

struct Quantized {
  QuantizeReport report;
  std::string bytes;
};

/// A fixture's model, quantized; `most`: layers after which the run is interrupted.
Quantized quantize_fixture(const fs::path& folder, const QuantizeJob& job, int most = 1000) {
  LoadedModel loaded = load_model(test::fixtures() / "models" / "vit_token");
  CalibrationSet images = synthetic_calibration(*loaded.model, 6, 1);
  images.count = 4;
  images.held_back = 2;
  Quantized run;
  run.report = quantize_model(loaded, images, job, best_isa(), 2, 2, [&](const std::string& stage, std::int64_t) {
    return [most, rounding = stage == "rounding weights"](std::int64_t done) {
      if (rounding && done == most) fail("interrupted");
    };
  });
  save_igq(folder / "q.igq", run.report.model, true);
  run.bytes = read_file(folder / "q.igq");
  return run;
}

TEST(CalibrationState, AnInterruptedRunGoesOnToTheSameBytes) {
  const test::TemporaryFolder folder;
  QuantizeJob job;
  job.options = preset_options(Preset::kBest);
  const std::string whole = quantize_fixture(folder.path(), job).bytes;
  job.state = calibration_state_path(folder.path() / "q.igq");
  EXPECT_THROW(quantize_fixture(folder.path(), job, 3), Error);
  ASSERT_TRUE(fs::is_directory(job.state));
  ASSERT_EQ(std::distance(fs::directory_iterator(job.state), fs::directory_iterator()), 3);
  EXPECT_THROW(load_igq(job.state / "patch_embed.proj.igq"), Error) << "a layer is no model";
  // A damaged file is not used, nor one of other settings.
  std::ofstream(fs::directory_iterator(job.state)->path(), std::ios::trunc) << "damaged";
  QuantizeJob other = job;
  other.options.ridge = 0.1;
  EXPECT_EQ(quantize_fixture(folder.path(), other, 1000).report.resumed_layers, 0);
  EXPECT_THROW(quantize_fixture(folder.path(), job, 4), Error);
  std::ofstream(job.state / "patch_embed.proj.igq", std::ios::trunc) << "damaged";
  const Quantized resumed = quantize_fixture(folder.path(), job);
  EXPECT_EQ(resumed.report.resumed_layers, 3);
  EXPECT_EQ(resumed.bytes, whole);
  const LoadedModel model = load_model(test::fixtures() / "models" / "vit_token");
  std::ofstream(job.state / "not ours") << "x";
  remove_calibration_state(job.state, *model.model);
  EXPECT_EQ(std::distance(fs::directory_iterator(job.state), fs::directory_iterator()), 1) << "others' files stay";
  fs::remove(job.state / "not ours");
  remove_calibration_state(job.state, *model.model);
  EXPECT_FALSE(fs::exists(job.state));
}

TEST(CalibrationState, NamesOfAnyLengthHaveAFolderAndLinksAreNotFollowed) {
  EXPECT_EQ(calibration_state_path("d/q.igq"), fs::path("d/q.igq.calibration"));
  const std::string longest(251, 'x');
  EXPECT_LE(calibration_state_path("d/" + longest + ".igq").filename().string().size(), 255u);
  EXPECT_NE(calibration_state_path(longest + ".igq"), calibration_state_path(longest + "y"));
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", folder.path() / "link");
  EXPECT_FALSE(make_state_folder(folder.path() / "link"));
  EXPECT_FALSE(make_state_folder(folder.path() / "no" / "such"));
  EXPECT_TRUE(make_state_folder(folder.path() / "new"));
}

TEST(QuantizeModel, SaysWhenImagesTellNothing) {
  QuantizeJob job;
  job.options = preset_options(Preset::kBest);
  const auto notes_of = [&](std::int64_t count, const std::function<float(std::int64_t, std::int64_t)>& value) {
    LoadedModel loaded = load_model(test::fixtures() / "models" / "vit_token");
    CalibrationSet images;
    images.count = count;
    images.checksum = "xxh3:test";
    const std::int64_t floats = loaded.model->image_floats();
    images.load = [floats, value](std::int64_t i, float* image) {
      for (std::int64_t p = 0; p < floats; ++p) image[p] = value(i, p);
    };
    const QuantizeReport report = quantize_model(loaded, images, job, best_isa(), 1, 2);
    EXPECT_FALSE(report.verdict.held_back);
    EXPECT_EQ(report.verdict.images, std::min<std::int64_t>(count, 2));
    std::string all;
    for (const std::string& note : report.notes) all += note + "\n";
    return all;
  };
  const auto wave = [](std::int64_t, std::int64_t p) { return std::sin(static_cast<float>(p)); };
  EXPECT_NE(notes_of(3, [](std::int64_t, std::int64_t) { return 2.0f; }).find("one colour"), std::string::npos);
  EXPECT_NE(notes_of(3, [](std::int64_t i, std::int64_t) { return 0.1f * static_cast<float>(i); }).find("one colour"),
            std::string::npos);
  EXPECT_NE(notes_of(1, wave).find("only 1 calibration image"), std::string::npos);
  EXPECT_NE(notes_of(3, wave).find("all the same"), std::string::npos);
  EXPECT_NE(notes_of(3, [](std::int64_t i, std::int64_t p) { return std::sin(static_cast<float>(p + i / 2)); })
                .find("1 of the 3"),
            std::string::npos);
}

}  // namespace
}  // namespace igq
