// igq quantize of a detector.
#pragma once

#include <string>

#include "common.h"
#include "quantize_flags.h"
#include "speed.h"

namespace igq::cli {

struct QuantizeDetectorFlags {
  std::string calibration_dir, output;
  std::string scope = "all";
  int samples = 32, held_back = -1, noise_images = 4;
  double max_drop = -1.0;  ///< below 0: none
  bool overwrite = false, dry_run = false;
  SpeedGate speed;
};

/// Makes the .igq file and prints what became of it. exit_code becomes kGateNotMet where more than max_drop percent of
/// float's objects are not found again.
void quantize_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                       const QuantizeDetectorFlags& flags, int& exit_code);

/// Site by site: bits, grouping, groups in use, and the errors alone where they were measured.
Table detector_site_table(const Network& network, const std::vector<SiteNoise>& noise);

}  // namespace igq::cli
