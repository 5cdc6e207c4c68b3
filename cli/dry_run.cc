#include "dry_run.h"

#include <fmt/format.h>

#include <iostream>

#include "allocation/allocate_bits.h"
#include "base/fail.h"
#include "common.h"
#include "models/registry.h"

namespace igq::cli {
namespace {

/// Of an output channel of coded weights the file has a scale and a zero-point.
constexpr std::int64_t kBytesPerOutput = 8;

std::string bits_text(int bits) { return bits == 32 ? "float" : fmt::format("{}", bits); }

}  // namespace

void print_dry_run(const Model& model, const QuantizeJob& job, std::int64_t images, bool json) {
  if (job.allocate_bits) fail("--dry-run cannot say which bits --bits auto chooses: they follow from measurements");
  const std::vector<SiteShape> shapes = site_shapes(model.config());
  Table table({"site", "weights", "activations", "grouping", "groups", "multiply-adds"});
  nlohmann::json sites = nlohmann::json::array();
  std::int64_t float_values = count_parameters(model.config()), coded_bits = 0, outputs = 0;
  for (const SiteShape& shape : shapes) {
    const SiteSetting setting = site_setting(shape, job.options);
    const bool coded = !shape.attention && setting.weight_bits < 32;
    if (coded) {
      float_values -= shape.in * shape.out;
      coded_bits += weight_size(shape, setting.weight_bits, job.options.weight_groups);
      outputs += shape.out;
    }
    const std::string groups =
        job.allocate && has_group_choice(shape, job.options) ? "by measurement" : fmt::format("{}", setting.groups);
    sites.push_back({{"site", shape.name},
                     {"weight_bits", setting.weight_bits},
                     {"activation_bits", setting.activation_bits},
                     {"grouping", grouping_name(setting.grouping)},
                     {"macs", shape.macs()}});
    table.add({shape.name, shape.attention ? "-" : bits_text(setting.weight_bits), bits_text(setting.activation_bits),
               std::string(grouping_name(setting.grouping)), groups, scaled(static_cast<double>(shape.macs()))});
  }
  const double size = static_cast<double>(coded_bits / 8 + outputs * kBytesPerOutput + float_values * 4);
  if (json) {
    print_json({{"dry_run", true},
                {"settings", job_text(job)},
                {"calibration_images", images},
                {"sites", std::move(sites)},
                {"file_mb", size / 1e6},
                {"seconds", nullptr}});
    return;
  }
  std::cout << table.text()
            << fmt::format(
                   "\n{}\n{} calibration images; the file will have about {}; how long it takes is not predicted\n"
                   "nothing was written (--dry-run)\n",
                   job_text(job), images, megabytes(size));
}

}  // namespace igq::cli
