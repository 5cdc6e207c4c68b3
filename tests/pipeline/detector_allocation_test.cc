// Groups and bits of a detector's layers chosen by the divergence of its outputs. Needs no data beside the project.
#include <gtest/gtest.h>

#include <fstream>

#include "allocation/network_perturbation.h"
#include "base/fail.h"
#include "io/safetensors.h"
#include "pipeline/quantize_detector.h"
#include "tests/detectors/small_detector.h"
#include "tests/sanitized.h"
#include "tests/test_util.h"

namespace igq {
namespace {

LoadedDetector small(bool cascade = false) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "config.json") << test::corpus(cascade ? "cascade" : "mask_rcnn");
  write_safetensors(folder.path() / "model.safetensors", test::weights(cascade), true);
  LoadedDetector loaded = load_detector(folder.path());
  loaded.name = "small";
  return loaded;
}

/// Sanitized code is fifty times as slow: one picture is enough there.
DetectorPictures two_pictures() {
  DetectorPictures pictures;
  pictures.count = test::kSanitized ? 1 : 2;
  pictures.load = [](std::int64_t i) { return i == 0 ? test::picture(60, 44) : test::picture(52, 60); };
  pictures.checksum = "xxh3:0000000000000002";
  return pictures;
}

QuantizeJob paper_job() {
  QuantizeJob job;
  job.options = preset_options(Preset::kPaper);
  job.options.weight_bits = job.options.activation_bits = 4;
  job.options.weights = WeightMethod::kNearest;
  job.allocate = true;
  job.average_groups = 4;
  return job;
}

DetectorReport quantize(LoadedDetector& loaded, const QuantizeJob& job, Isa isa = best_isa(), int threads = 2) {
  return quantize_detector(loaded, two_pictures(), job, DetectorScope::kAll, isa, threads, 0);
}

TEST(DetectorAllocation, ShapesAreThoseOfThePictures) {
  LoadedDetector loaded = small();
  DetectorRunner runner(*loaded.detector, Execution::kFloat, best_isa(), 2);
  const DetectorPictures pictures = two_pictures();
  const std::vector<SiteShape> shapes = observed_shapes(detector_passes(runner, pictures));
  ASSERT_EQ(shapes.size(), loaded.detector->sites().size());
  const auto shape_of = [&](const std::string& name) {
    return *std::find_if(shapes.begin(), shapes.end(), [&](const SiteShape& s) { return s.name == name; });
  };
  const SiteShape lateral = shape_of("neck.lateral_convs.0.conv"), output = shape_of("neck.fpn_convs.0.conv");
  EXPECT_EQ(lateral.rows, lateral.input_rows);  // 1x1
  EXPECT_EQ(output.rows, lateral.rows);
  EXPECT_EQ(output.taps, 9);
  EXPECT_EQ(output.macs(), output.rows * 8 * 9 * 8);
  EXPECT_TRUE(shape_of("rpn_head.rpn_cls").output);
  const SiteShape attention = shape_of("backbone.layers.0.blocks.0.attn");
  EXPECT_TRUE(attention.attention);
  EXPECT_GT(attention.windows, 0);
  EXPECT_EQ(attention.tokens, attention.keys);
  // The shared convolution of the RPN sees every level.
  EXPECT_GT(shape_of("rpn_head.rpn_conv").rows, output.rows);
}

TEST(DetectorAllocation, ASiteThatRunsAsInFloatDoesNotDiverge) {
  for (const bool cascade : {false, true}) {
    LoadedDetector loaded = small(cascade);
    DetectorRunner runner(*loaded.detector, Execution::kFloat, best_isa(), 2);
    runner.detect(test::picture(60, 44), 0.05f);
    for (std::size_t i = 0; i < loaded.detector->sites().size(); ++i)
      EXPECT_EQ(runner.divergence_of(static_cast<int>(i)), 0.0) << loaded.detector->sites()[i].name;
  }
}

TEST(DetectorAllocation, GroupsFitTheBudgetAndEndInThePlan) {
  LoadedDetector loaded = small();
  const DetectorReport report = quantize(loaded, paper_job());
  ASSERT_TRUE(report.allocation);
  EXPECT_LE(report.allocation->bops, report.allocation->budget);
  ASSERT_GE(report.allocation->uniform_divergence, 0.0);  // 4 groups in every layer are a candidate
  EXPECT_LE(report.allocation->divergence, report.allocation->uniform_divergence * (1.0 + 1e-9));
  int many = 0;
  for (const AllocatedSite& site : report.allocation->sites) {
    EXPECT_GT(site.divergence, 0.0) << site.site;
    const auto linear = report.detector.plan->linears.find(site.site);
    const ActivationPlan& plan = linear != report.detector.plan->linears.end()
                                     ? linear->second.input
                                     : report.detector.plan->attentions.at(site.site).softmax;
    if (plan.grouping != Grouping::kIgq) continue;  // one quantizer was better
    EXPECT_EQ(static_cast<int>(plan.groups.size()), site.groups) << site.site;
    many += site.groups > 1;
  }
  EXPECT_GT(many, 3);
  const test::TemporaryFolder folder;
  save_detector(folder / "d.igq", report.detector, false);
  EXPECT_EQ(load_detector(folder / "d.igq").report, report.detector.report);
}

TEST(DetectorAllocation, TheSameOnEveryInstructionSetAndNumberOfThreads) {
  if (test::kSanitized) GTEST_SKIP() << "slow, and its passes are those of the other tests";
  QuantizeJob job = paper_job();
  std::vector<std::string> answers;
  for (const auto& [isa, threads] : {std::pair{Isa::kReference, 1}, {best_isa(), 3}}) {
    LoadedDetector loaded = small();
    answers.push_back(allocation_to_json(*quantize(loaded, job, isa, threads).allocation).dump());
  }
  EXPECT_EQ(answers[0], answers[1]);
}

TEST(DetectorAllocation, EveryCandidateIsMeasuredWhereThatIsAskedFor) {
  if (test::kSanitized) GTEST_SKIP() << "slow, and its passes are those of the other tests";
  LoadedDetector loaded = small();
  QuantizeJob job = paper_job();
  job.measure_all = true;
  const DetectorReport report = quantize(loaded, job);
  for (const AllocatedSite& site : report.allocation->sites) EXPECT_GE(site.measured, 0.0) << site.site;
}

TEST(DetectorAllocation, BitsFitTheirBudgetsAndBeatTheSameBitsEverywhere) {
  for (const bool cascade : {false, true}) {
    if (cascade && test::kSanitized) continue;
    LoadedDetector loaded = small(cascade);
    QuantizeJob job;
    job.options = preset_options(Preset::kBest);
    job.options.weights = WeightMethod::kNearest;
    job.allocate_bits = true;
    const DetectorReport report = quantize(loaded, job);
    ASSERT_TRUE(report.bit_allocation);
    EXPECT_LE(report.bit_allocation->weight_size, report.bit_allocation->weight_budget);
    EXPECT_LE(report.bit_allocation->bops, report.bit_allocation->bops_budget);
    EXPECT_LT(report.bit_allocation->divergence, report.bit_allocation->uniform_divergence);
    for (const SiteBitChoice& site : report.bit_allocation->sites) {
      EXPECT_FALSE(site.site.ends_with("fc_cls") || site.site.ends_with("rpn_reg")) << "its bits are no choice";
      if (site.weight_bits == 0) continue;
      const LinearPlan& plan = report.detector.plan->linears.at(site.site);
      EXPECT_EQ(plan.weight.bits, site.weight_bits) << site.site;
      EXPECT_EQ(plan.input.bits, site.activation_bits) << site.site;
    }
    const test::TemporaryFolder folder;
    save_detector(folder / "d.igq", report.detector, false);
    EXPECT_TRUE(load_detector(folder / "d.igq").quantized);
  }
}

TEST(DetectorAllocation, ImpossibleBudgetsAreRefused) {
  LoadedDetector loaded = small();
  QuantizeJob job = paper_job();
  job.budget_gbops = 1e-6;
  EXPECT_THROW(quantize(loaded, job), Error);
}

}  // namespace
}  // namespace igq
