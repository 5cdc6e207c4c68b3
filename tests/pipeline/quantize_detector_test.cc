// Detectors in integers on the fixtures beside the project: quantized end to end, saved, read back, run.
#include "pipeline/quantize_detector.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/fail.h"
#include "detectors/detector_runner.h"
#include "tests/sanitized.h"
#include "tests/test_util.h"

namespace igq {
namespace {

/// Every network and way of naming its tensors.
const char* const kFixtures[] = {"mask_rcnn_odd", "cascade_mask_rcnn", "cascade_mask_rcnn_agnostic", "yolos", "detr"};

std::filesystem::path fixture(const std::string& name) {
  const auto shared = test::find_shared();
  return shared.empty() ? shared : shared / "data" / "detection" / name;
}

DetectorPictures picture_of(const std::filesystem::path& folder) {
  DetectorPictures pictures;
  pictures.count = 1;
  pictures.load = [image = load_image(folder / "input.png")](std::int64_t) { return image; };
  pictures.checksum = "xxh3:0000000000000001";
  return pictures;
}

QuantizeJob job_of(Preset preset, int bits, WeightMethod weights) {
  QuantizeJob job;
  job.options = preset_options(preset);
  job.options.weight_bits = job.options.activation_bits = bits;
  job.options.weights = weights;
  return job;
}

void expect_same(const std::vector<Detection>& got, const std::vector<Detection>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(detection::xywh(got[i].box), detection::xywh(want[i].box));
    EXPECT_EQ(got[i].score, want[i].score);
    EXPECT_EQ(got[i].label, want[i].label);
    EXPECT_EQ(got[i].mask, want[i].mask);
  }
}

std::string bytes_of(const std::filesystem::path& file) { return test::read_text(file); }

TEST(QuantizeDetector, FilesGiveTheBitsOfTheNetworkThatWasSavedOnEveryInstructionSetAndThreadCount) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  const test::TemporaryFolder folder;
  for (const char* name : kFixtures)
    for (const Preset preset : {Preset::kBest, Preset::kPaper}) {
      if (test::kSanitized && (preset == Preset::kPaper || std::string_view(name).starts_with("cascade"))) continue;
      SCOPED_TRACE(fmt::format("{} {}", name, preset_name(preset)));
      LoadedDetector loaded = load_detector(fixture(name));
      const DetectorPictures pictures = picture_of(fixture(name));
      const QuantizeJob job = job_of(preset, preset == Preset::kBest ? 4 : 8,
                                     preset == Preset::kBest ? WeightMethod::kGptq : WeightMethod::kNearest);
      const DetectorReport report = quantize_detector(loaded, pictures, job, DetectorScope::kAll, best_isa(), 2, 1);
      EXPECT_EQ(report.agreement.images, 1);
      EXPECT_FALSE(report.sites.empty());
      for (const Site& site : loaded.detector->sites())  // attentions of other keys too
        EXPECT_TRUE(report.detector.plan->linears.contains(site.name) ||
                    report.detector.plan->attentions.contains(site.name) || site.name.ends_with(".upsample"))
            << site.name;
      for (const SiteNoise& site : report.sites) EXPECT_GT(*site.alone, 0.0) << site.site;
      const auto file = folder.path() / "d.igq";
      save_detector(file, report.detector, true);
      ASSERT_TRUE(is_detector(file, ""));
      const Image image = pictures.load(0);
      std::vector<Detection> want;
      {
        DetectorRunner runner(*loaded.detector, Execution::kInteger, best_isa(), 2);
        want = runner.detect(image, loaded.detector->evaluation_threshold());
      }
      LoadedDetector read = load_detector(file);
      EXPECT_TRUE(read.quantized);
      EXPECT_EQ(read.provenance, report.detector.provenance);
      EXPECT_EQ(read.detector->labels(), loaded.detector->labels());
      for (const Isa isa : {Isa::kReference, best_isa()})
        for (const int threads : {1, 3}) {
          if (test::kSanitized && (threads == 1 || isa == Isa::kReference)) continue;  // slow
          DetectorRunner runner(*read.detector, Execution::kInteger, isa, threads);
          expect_same(runner.detect(image, read.detector->evaluation_threshold()), want);
        }
      DetectorRunner simulated(*read.detector, Execution::kSimulate, best_isa(), 2);
      expect_same(simulated.detect(image, read.detector->evaluation_threshold()), want);
    }
}

TEST(QuantizeDetector, AWholePictureOnEveryThreadChangesNothing) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  LoadedDetector loaded = load_detector(fixture("mask_rcnn_odd"));
  const DetectorPictures pictures = picture_of(fixture("mask_rcnn_odd"));
  quantize_detector(loaded, pictures, job_of(Preset::kBest, 8, WeightMethod::kNearest), DetectorScope::kAll, best_isa(),
                    2, 0);
  constexpr int kPictures = 7;
  const auto load = [&](std::int64_t i) {  // all different
    Image image = pictures.load(0);
    for (std::size_t p = 0; p < image.rgb.size(); ++p)
      image.rgb[p] = static_cast<std::uint8_t>((image.rgb[p] + 20U * static_cast<unsigned>(i)) & 255U);
    return image;
  };
  const float threshold = loaded.detector->evaluation_threshold();
  std::vector<std::vector<Detection>> want;
  {
    DetectorRunner runner(*loaded.detector, Execution::kInteger, best_isa(), 2);
    for (int i = 0; i < kPictures; ++i) want.push_back(runner.detect(load(i), threshold));
  }
  EXPECT_FALSE(want[0].empty());
  for (const int threads : {1, 3, 8}) {
    DetectorRunner runner(*loaded.detector, Execution::kInteger, best_isa(), threads);
    std::vector<std::vector<Detection>> got(kPictures);
    runner.detect_each(kPictures, threshold, load, [&](std::int64_t i, std::vector<Detection> found) {
      got[static_cast<std::size_t>(i)] = std::move(found);
    });
    for (int i = 0; i < kPictures; ++i)
      expect_same(got[static_cast<std::size_t>(i)], want[static_cast<std::size_t>(i)]);
    const auto broken = [&](std::int64_t i) { return i == 2 ? fail("picture {}", i), Image() : load(i); };
    EXPECT_THROW(runner.detect_each(kPictures, threshold, broken, [](auto, auto) {}), Error);
  }
}

TEST(QuantizeDetector, TheSameRunGivesTheSameBytes) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  const test::TemporaryFolder folder;
  std::vector<std::string> files;
  for (const int threads : {1, 3}) {
    LoadedDetector loaded = load_detector(fixture("mask_rcnn_odd"));
    const DetectorReport report =
        quantize_detector(loaded, picture_of(fixture("mask_rcnn_odd")), job_of(Preset::kBest, 6, WeightMethod::kErq),
                          DetectorScope::kAll, best_isa(), threads, 1);
    save_detector(folder.path() / "d.igq", report.detector, true);
    files.push_back(bytes_of(folder.path() / "d.igq"));
  }
  EXPECT_TRUE(files[0] == files[1]);
}

TEST(QuantizeDetector, ScopesAndConventionsSayWhatStaysFloat) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  const auto planned = [](DetectorScope scope, Preset preset) {
    LoadedDetector loaded = load_detector(fixture("mask_rcnn_odd"));
    return *quantize_detector(loaded, picture_of(fixture("mask_rcnn_odd")), job_of(preset, 8, WeightMethod::kNearest),
                              scope, best_isa(), 2, 0)
                .detector.plan;
  };
  const QuantizationPlan all = planned(DetectorScope::kAll, Preset::kBest),
                         backbone = planned(DetectorScope::kBackbone, Preset::kBest),
                         paper = planned(DetectorScope::kAll, Preset::kPaper);
  EXPECT_TRUE(all.linears.contains("neck.fpn_convs.0.conv"));
  EXPECT_TRUE(all.linears.contains("roi_head.mask_head.upsample"));
  EXPECT_FALSE(backbone.linears.empty());
  EXPECT_EQ(backbone.attentions.size(), all.attentions.size());
  for (const auto& [name, plan] : backbone.linears) EXPECT_TRUE(name.starts_with("backbone.")) << name;
  EXPECT_FALSE(paper.linears.contains("roi_head.mask_head.upsample"));
  EXPECT_TRUE(paper.linears.contains("roi_head.mask_head.convs.0.conv"));
  EXPECT_EQ(all.linears.at("rpn_head.rpn_cls").weight.bits, 8);
}

TEST(QuantizeDetector, HeadsThatNoPictureReachesStayFloatAndAreNamed) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  // A threshold that nothing passes: the mask head sees no region.
  const test::TemporaryFolder folder;
  const auto copy = folder.path() / "model";
  std::filesystem::copy(fixture("mask_rcnn_odd"), copy, std::filesystem::copy_options::recursive);
  std::ifstream in(copy / "config.json");
  nlohmann::json config = nlohmann::json::parse(in);
  config["model"]["test_cfg"]["rcnn"]["score_thr"] = 1.0;
  std::ofstream(copy / "config.json") << config;
  LoadedDetector loaded = load_detector(copy);
  const DetectorReport report = quantize_detector(
      loaded, picture_of(copy), job_of(Preset::kBest, 8, WeightMethod::kAuto), DetectorScope::kAll, best_isa(), 2, 1);
  EXPECT_FALSE(report.detector.plan->linears.contains("roi_head.mask_head.conv_logits"));
  EXPECT_TRUE(report.detector.plan->linears.contains("roi_head.bbox_head.fc_cls"));
  const auto named = [&](const std::string& text) {
    return std::any_of(report.notes.begin(), report.notes.end(),
                       [&](const std::string& note) { return note.find(text) != std::string::npos; });
  };
  EXPECT_TRUE(named("roi_head.mask_head.conv_logits was not reached"));
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("finds no object"), std::string::npos);
  save_detector(folder.path() / "d.igq", report.detector, false);
  EXPECT_TRUE(load_detector(folder.path() / "d.igq").quantized);
}

TEST(QuantizeDetector, WhatDetectorsDoNotHaveIsRefused) {
  QuantizeJob job = job_of(Preset::kBest, 8, WeightMethod::kNearest);
  job.allocate = job.allocate_bits = true;
  EXPECT_NO_THROW(check_detector_job(job));
  job.perturbation_cache = "cache";
  EXPECT_THROW(check_detector_job(job), Error);
  job.perturbation_cache.clear();
  job.options.reconstruct = true;
  EXPECT_THROW(check_detector_job(job), Error);
  EXPECT_THROW(parse_scope("neck"), Error);
}

TEST(QuantizeDetector, DamagedFilesAreRefused) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "d.igq", damaged = folder.path() / "x.igq";
  LoadedDetector loaded = load_detector(fixture("yolos"));
  const DetectorReport report =
      quantize_detector(loaded, picture_of(fixture("yolos")), job_of(Preset::kBest, 4, WeightMethod::kNearest),
                        DetectorScope::kAll, best_isa(), 2, 0);
  save_detector(file, report.detector, false);
  const std::string good = bytes_of(file);
  for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{63}, good.size() / 3, good.size() - 1}) {
    std::ofstream(damaged, std::ios::binary) << good.substr(0, size);
    EXPECT_THROW(load_detector(damaged), Error) << size;
  }
  for (std::size_t at = 8; at < good.size(); at += good.size() / 97) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x11);
    std::ofstream(damaged, std::ios::binary) << bad;
    try {
      load_detector(damaged);  // padding between tensors may be anything that its checksum covers
      ADD_FAILURE() << "byte " << at;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("x.igq"), std::string::npos) << e.what();
    }
  }
}

/// A file whose header says what `change` makes of it, with checksums that are right.
void rewrite(const QuantizedDetector& detector, const std::filesystem::path& file,
             const std::function<void(QuantizedDetector&)>& change) {
  QuantizedDetector changed;
  changed.description = detector.description;
  changed.plan = detector.plan;
  changed.tensors = detector.tensors;
  changed.provenance = detector.provenance;
  change(changed);
  save_detector(file, changed, true);
}

TEST(QuantizeDetector, FilesThatContradictThemselvesAreRefused) {
  if (test::find_shared().empty()) GTEST_SKIP() << test::kNoShared;
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "d.igq";
  LoadedDetector loaded = load_detector(fixture("yolos"));
  const DetectorReport report =
      quantize_detector(loaded, picture_of(fixture("yolos")), job_of(Preset::kBest, 8, WeightMethod::kNearest),
                        DetectorScope::kAll, best_isa(), 2, 0);
  rewrite(report.detector, file, [](QuantizedDetector&) {});
  EXPECT_NO_THROW(load_detector(file));
  const auto expect_refused = [&](const std::function<void(QuantizedDetector&)>& change) {
    EXPECT_THROW(
        {
          rewrite(report.detector, file, change);
          load_detector(file);
        },
        Error);
  };
  expect_refused([](QuantizedDetector& d) { d.description.config["hidden_size"] = 64; });
  expect_refused([](QuantizedDetector& d) { d.description.config["num_hidden_layers"] = 1; });
  expect_refused([](QuantizedDetector& d) { d.description.config["architectures"] = {"Other"}; });
  expect_refused([](QuantizedDetector& d) {
    auto plan = std::make_shared<QuantizationPlan>(*d.plan);
    plan->linears["nowhere"] = plan->linears.begin()->second;
    d.plan = plan;
  });
  expect_refused([](QuantizedDetector& d) {
    auto plan = std::make_shared<QuantizationPlan>(*d.plan);
    plan->linears.at("vit.blocks.0.mlp.fc1").weight.scale.back() = -1.0f;
    d.plan = plan;
  });
}

}  // namespace
}  // namespace igq
