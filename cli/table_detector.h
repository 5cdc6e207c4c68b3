// igq table of a detector: COCO's AP of every reference setting.
#pragma once

#include <string>
#include <vector>

#include "common.h"
#include "pipeline/table.h"
#include "quantize_flags.h"

namespace igq::cli {

struct TableDetectorFlags {
  std::string calibration_dir, annotations, images, output, markdown;
  std::string scope = "all";
  int samples = 32;
  std::int64_t limit = 0;
  bool skip_bad_images = false;
};

void table_detector(const ModelFlags& model, const RunFlags& run, const QuantizeFlags& quantize,
                    const TableDetectorFlags& flags, const std::vector<TableSetting>& settings);

}  // namespace igq::cli
