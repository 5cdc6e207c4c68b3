#include "dry_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>

#include "allocation/allocate_bits.h"
#include "base/fail.h"
#include "common.h"
#include "models/registry.h"

namespace igq::cli {
namespace {

/// Of an output channel of coded weights the file has a scale and a zero-point.
constexpr std::int64_t kBytesPerOutput = 8;

std::string bits_text(int bits) { return bits == 32 ? "float" : fmt::format("{}", bits); }

std::string time_text(double seconds) {
  return seconds < 90.0 ? fmt::format("{:.0f} seconds", std::max(seconds, 1.0))
                        : fmt::format("{:.0f} minutes", seconds / 60.0);
}

}  // namespace

double timed_pass(const std::function<void()>& pass) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 2; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void print_dry_run(const DryRun& run, const QuantizeJob& job, const QuantizeOptions& options, bool json) {
  if (job.allocate_bits) fail("--dry-run cannot say which bits --bits auto chooses: they follow from measurements");
  Table table({"site", "weights", "activations", "grouping", "groups", "multiply-adds"});
  nlohmann::json sites = nlohmann::json::array();
  std::int64_t float_values = run.float_values, coded_bits = 0, outputs = 0;
  for (const SiteShape& shape : run.shapes) {
    const SiteSetting setting = site_setting(shape, options);
    const bool reached = shape.macs() > 0, coded = reached && !shape.attention && setting.weight_bits < 32;
    if (coded) {
      float_values -= shape.contraction() * shape.out;
      coded_bits += weight_size(shape, setting.weight_bits, options.weight_groups);
      outputs += shape.out;
    }
    const std::string groups =
        job.allocate && has_group_choice(shape, options) ? "by measurement" : fmt::format("{}", setting.groups);
    sites.push_back({{"site", shape.name},
                     {"weight_bits", reached ? setting.weight_bits : 32},
                     {"activation_bits", reached ? setting.activation_bits : 32},
                     {"grouping", grouping_name(reached ? setting.grouping : Grouping::kFloat)},
                     {"macs", shape.macs()}});
    if (reached)
      table.add({shape.name, shape.attention ? "-" : bits_text(setting.weight_bits), bits_text(setting.activation_bits),
                 std::string(grouping_name(setting.grouping)), groups, scaled(static_cast<double>(shape.macs()))});
    else
      table.add({shape.name, "float", "float", "not reached by the first image", "-", "-"});
  }
  const double size = static_cast<double>(coded_bits / 8 + outputs * kBytesPerOutput + float_values * 4);
  const bool predictable = !options.reconstruct;
  const double seconds = predicted_seconds(run.shapes, options, run.work);
  if (json) {
    print_json({{"dry_run", true},
                {"settings", run.settings},
                {"calibration_images", run.work.images},
                {"sites", std::move(sites)},
                {"file_mb", size / 1e6},
                {"seconds", predictable ? nlohmann::json(seconds) : nlohmann::json()}});
    return;
  }
  std::cout << table.text()
            << fmt::format(
                   "\n{}\n{} calibration images; the file will have about {}; {}\n"
                   "nothing was written (--dry-run)\n",
                   run.settings, run.work.images, megabytes(size),
                   predictable ? fmt::format("it will take roughly {} on this machine as it is now", time_text(seconds))
                               : "how long --reconstruct takes is not predicted");
}

}  // namespace igq::cli
