// igq quantize --dry-run: what would be made, without calibrating anything.
#pragma once

#include <vector>

#include "pipeline/quantize_time.h"

namespace igq::cli {

/// What a dry run knows of a model.
struct DryRun {
  std::vector<SiteShape> shapes;  ///< of a detector: as its first calibration picture has them
  std::int64_t float_values = 0;  ///< in the checkpoint
  std::string settings;           ///< the job in one line
  QuantizeWork work;
};

/// Prints sites, bits, the size that the file will have, give or take the header's text, and roughly how long it will
/// take; `json`: as one document. `options`: those that the sites get. Error when bits are to be chosen by measurement.
void print_dry_run(const DryRun& run, const QuantizeJob& job, const QuantizeOptions& options, bool json);

/// The seconds of one pass: the faster of two.
double timed_pass(const std::function<void()>& pass);

}  // namespace igq::cli
