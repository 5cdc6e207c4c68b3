// Reports for tests: of small models quantized in the test, and one whose every text is hostile and every number
// extreme.
#pragma once

#include <filesystem>
#include <string>

#include "eval/compare.h"
#include "pipeline/quantize_model.h"
#include "report/report_data.h"
#include "tests/test_util.h"

namespace igq::test {

/// A quantized model as load_model() gives it from a file.
struct SavedModel {
  LoadedModel reference, quantized;
  std::uint64_t bytes = 0;
};

inline SavedModel save_model(const std::filesystem::path& folder, const std::string& fixture,
                             const QuantizeOptions& options = {}) {
  SavedModel saved;
  saved.reference = load_model(fixtures() / "models" / fixture);
  QuantizeJob job;
  job.options = options;
  const QuantizeReport report =
      quantize_model(saved.reference, synthetic_calibration(*saved.reference.model, 4, 3), job, best_isa(), 1, 2);
  const std::filesystem::path path = folder / (fixture + ".igq");
  save_igq(path, report.model, true);
  saved.reference.model->set_plan(nullptr);
  saved.quantized = load_model(path);
  saved.bytes = std::filesystem::file_size(path);
  return saved;
}

/// `per_class` embedded test images of the first `classes` classes.
inline std::vector<Sample> embedded_images(int classes, std::size_t per_class) {
  const ImageFolder folder = list_images(std::filesystem::path(IGQ_SOURCE_DIR) / "assets" / "fashion_mnist" / "test");
  std::vector<Sample> samples;
  std::vector<std::size_t> taken(folder.classes.size(), 0);
  for (const Sample& s : folder.samples)
    if (s.label < classes && taken[static_cast<std::size_t>(s.label)]++ < per_class) samples.push_back(s);
  return samples;
}

inline constexpr const char* kHostile = "<script>alert('x')</script>\"&'><img src=x onerror=alert(1)>";

/// 40 blocks, 32 groups, long names, markup in every text, errors from -200 to 200 dB, a member range of zero.
inline report::ReportData extreme_report(const report::ReportData& like) {
  report::ReportData data = like;
  data.file = std::string(kHostile) + std::string(120, 'W') + ".igq";
  data.config.architecture = std::string("arch_") + kHostile;
  data.config.labels.assign(static_cast<std::size_t>(data.config.num_classes),
                            std::string("label ") + kHostile + std::string(60, 'm') + "\xff\x01");
  data.provenance.source = std::string(90, 'x') + kHostile;
  data.provenance.settings = std::string("--keep '") + kHostile + std::string(200, 'k') + "'";
  data.file_mb = 123456.789;
  data.float_mb = 9876543.21;
  data.gbops = 1.2e6;
  data.float_gbops = 7.7e7;
  data.speed = report::Speed{12345.6, 1234.56, 5, 128, std::string("CPU ") + kHostile, "avx512-vnni"};
  data.sites.clear();
  for (int block = 0; block < 40; ++block)
    for (const char* kind : {"attn.qkv", "attn", "attn.proj", "mlp.fc1", "mlp.fc2", "downsample.reduction"}) {
      report::SiteRow row;
      row.name = "layers.2.blocks." + std::to_string(block) + "." + kind;
      row.block = block;
      row.kind = kind;
      row.attention = row.kind == "attn";
      row.weight_bits = row.activation_bits = 4;
      row.grouping = block == 7 ? Grouping::kFloat : block == 9 ? Grouping::kUpperBound : Grouping::kIgq;
      row.groups = block == 7 ? 0 : block % 5 == 0 ? 32 : 1 + block % 3;
      row.gbops = 1234.5;
      row.alone = block == 3 ? kNoNoise : block == 5 ? -kNoNoise : 0.37 * block;
      row.accumulated = -0.2 * block;
      data.sites.push_back(row);
    }
  data.noise_images = 1;
  if (data.channels) {
    report::GroupedExample& example = *data.channels;
    example.groups = 32;
    example.image_names.assign(example.images.size(), std::string(100, 'n') + kHostile + ".png");
    for (std::size_t i = 0; i < example.images.size(); ++i)
      for (std::size_t m = 0; m < example.images[i].size(); ++m) {
        example.images[i][m].group = static_cast<int>((m * (i + 1)) % 32);
        example.images[i][m].range = m == 0 ? Bounds{} : Bounds{-12345.678f, 0.0001f * static_cast<float>(m)};
      }
  }
  for (auto& p : data.predictions) p.file = std::string(100, 'f') + kHostile;
  return data;
}

}  // namespace igq::test
