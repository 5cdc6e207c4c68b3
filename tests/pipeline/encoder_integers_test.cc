// Encoders with layers of their own (rotary embeddings, gated MLPs, attention pooling) in integers: the bits of
// simulation, on every instruction set and number of threads, through the file.
#include <gtest/gtest.h>

#include <cmath>

#include "calibration/calibrate.h"
#include "eval/benchmark.h"
#include "models/igq_file.h"
#include "pipeline/quantize_model.h"
#include "tests/npy.h"
#include "tests/test_util.h"

namespace igq {
namespace {

/// Folders of tests/fixtures.
const char* const kEncoders[] = {
    "rotary/dinov3",     "rotary/dinov3_gated", "rotary/timm_dinov3",    "rotary/timm_dinov3_gated",
    "rotary/eva02_base", "rotary/eva02_small",  "rotary/rope_registers", "towers/siglip",
    "towers/timm_siglip"};

TEST(EncoderIntegers, HaveTheBitsOfSimulationAndSurviveTheFile) {
  const test::TemporaryFolder folder;
  for (const std::string encoder : kEncoders)
    for (const int bits : {8, 4}) {
      SCOPED_TRACE(fmt::format("{} {}", encoder, bits));
      const std::filesystem::path from = test::fixtures() / encoder;
      LoadedModel loaded = load_model(from);
      QuantizeJob job;
      job.options = preset_options(Preset::kBest);
      job.options.weight_bits = job.options.activation_bits = bits;
      const CalibrationSet images = synthetic_calibration(*loaded.model, 4, 1);
      const QuantizeReport report = quantize_model(loaded, images, job, best_isa(), 2, 2);
      EXPECT_NE(report.model.provenance.settings.find("--balance"), std::string::npos);
      EXPECT_GT(report.noise.logits_snr, bits == 8 ? 20.0 : 3.0);
      for (const Site& site : loaded.model->sites())
        EXPECT_TRUE(report.model.plan.linears.contains(site.name) || report.model.plan.attentions.contains(site.name))
            << site.name;
      save_igq(folder.path() / "m.igq", report.model, true);
      LoadedModel read = load_model(folder.path() / "m.igq");
      const std::vector<float> input = test::read_npy(from / "input.npy").as<float>();
      const std::int64_t width = output_width(read.model->config());
      const auto run = [&](Execution execution, Isa isa, int threads) {
        std::vector<float> all(static_cast<std::size_t>(2 * width), NAN);
        Runner(*read.model, execution, isa, threads).run_batch(input.data(), 2, all.data());
        return all;
      };
      const std::vector<float> integer = run(Execution::kInteger, best_isa(), 2);
      EXPECT_FALSE(std::isnan(integer.front()));
      EXPECT_EQ(run(Execution::kSimulate, best_isa(), 2), integer);
      EXPECT_EQ(run(Execution::kInteger, Isa::kReference, 1), integer);
      EXPECT_EQ(run(Execution::kInteger, best_isa(), 3), integer);
    }
}

}  // namespace
}  // namespace igq
