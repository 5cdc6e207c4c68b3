// The report of a detector in integers: what its layers lose, part by part, and pictures with the objects of float and
// integers side by side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "detectors/open_detector.h"
#include "pipeline/detection_agreement.h"
#include "pipeline/quantize_model.h"
#include "report/report_data.h"

namespace igq::report {

/// Of every site: bits, grouping, groups in use (0: float, or one for each channel or row). What else a row has stays
/// empty.
std::vector<SiteRow> site_rows(const Network& network);

/// The part of the network that a site belongs to: "backbone" of "backbone.layers.0.blocks.0.attn"; of heads two words,
/// without a cascade's number: "roi_head.mask_head".
std::string part_of(const std::string& site);

/// A part of the network: how much noise its layers put into their own outputs.
struct PartNoise {
  std::string part;
  int sites = 0, measured = 0;
  double mean_percent = 0.0;  ///< mean over the measured sites of noise in percent of the output's energy
  std::string worst;          ///< the site with the most
  double worst_db = 0.0;
};

struct DetectorPicture {
  std::string file;
  int height = 0, width = 0;
  std::string original, integer;  ///< PNG files with the objects drawn; `original` is empty without a float model
  std::int64_t objects = 0, found = 0, invented = 0;  ///< as DetectionAgreement; without a float model 0
  std::int64_t shown = 0;                             ///< objects in integers above the detector's threshold
};

struct DetectorReportData {
  std::string file, float_name;  ///< float_name is empty without a float model
  std::string architecture;
  std::vector<std::string> labels;  ///< names of classes; empty when the checkpoint has none
  bool masks = false;
  Provenance provenance;
  double file_mb = 0.0, float_mb = 0.0;
  std::optional<Speed> speed;                   ///< of one picture of the data, everything included
  std::optional<DetectionAgreement> agreement;  ///< on the data with a float model, else what the file remembers
  bool agreement_on_data = false, held_back = false;
  std::int64_t noise_images = 0;
  std::vector<SiteRow> sites;
  std::vector<DetectorPicture> pictures;
  std::int64_t pictures_seen = 0;
};

struct DetectorReportOptions {
  std::uint64_t file_bytes = 0;                 ///< of the .igq file
  std::vector<std::filesystem::path> pictures;  ///< may be empty
  bool speed = true;
  std::int64_t noise_images = 8;  ///< of the pictures, with a float model
  int threads = 0;
  Isa isa = best_isa();
};

/// `model` is an .igq file; `original` (may be null) the float detector it was made from. Error when the two find other
/// things, or when a picture cannot be read.
DetectorReportData collect_detector_report(const LoadedDetector& model, const LoadedDetector* original,
                                           const DetectorReportOptions& options, const StageProgress& progress = {});

/// The parts of the network, the one with the most noise first; those without measured sites last.
std::vector<PartNoise> noise_of_parts(const DetectorReportData& data);

std::string detector_report_html(const DetectorReportData& data);
nlohmann::json detector_report_json(const DetectorReportData& data);

}  // namespace igq::report
