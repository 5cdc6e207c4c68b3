// The paper's table for one detector: every reference setting of docs/method.md, section 7, scored by COCO's metric on
// the same pictures. As table.h does it for classifiers; finished rows are kept likewise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/detect_dataset.h"
#include "pipeline/quantize_detector.h"
#include "pipeline/table.h"

namespace igq {

struct DetectorTableRow {
  std::string name, bits;
  std::string groups;  ///< as TableRow's
  std::int64_t images = 0;
  // COCO's AP, 0 to 100, and half its 95 % interval over draws of other images (coco/resampled_ap.h); -1, 0 without
  // objects, and for masks where the detector has none.
  double box_ap = -1.0, box_interval = 0.0, mask_ap = -1.0, mask_interval = 0.0;
  double gbops = 0.0;  ///< 10^9 bit operations per calibration picture
  double file_mb = 0.0;
  double quantize_seconds = 0.0;
};

struct DetectorTableOptions {
  Execution execution = Execution::kInteger;
  Isa isa = best_isa();
  int threads = 0;
  DetectorScope scope = DetectorScope::kAll;
  DatasetRun run;
  std::filesystem::path state;  ///< as TableOptions'
};

/// Measures every setting on the images of `dataset`, whose boxes (and masks, where the detector has them) were read.
/// `load` gives the float detector anew. Error for a quantized one. row_done hears of each row.
std::vector<DetectorTableRow> make_detector_table(const std::function<LoadedDetector()>& load,
                                                  const DetectorPictures& pictures, const coco::Dataset& dataset,
                                                  const std::vector<TableSetting>& settings,
                                                  const DetectorTableOptions& options,
                                                  const StageProgress& progress = {},
                                                  const std::function<void(const DetectorTableRow&)>& row_done = {});

nlohmann::json row_to_json(const DetectorTableRow& row);

}  // namespace igq
