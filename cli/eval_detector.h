// igq eval MODEL --coco ANNOTATIONS --images FOLDER: a detector on the images of an annotation file, scored by COCO's
// metric.
#pragma once

#include <cstdint>
#include <string>

#include "common.h"
#include "eval_coco.h"

namespace igq::cli {

struct EvalDetectorFlags {
  std::string images;        ///< folder of the annotation file's images
  std::string results_file;  ///< COCO's result file to write; empty: none
  std::int64_t limit = 0;    ///< only the first so many images by id; 0: all
  bool skip_bad_images = false;
  bool overwrite = false;
};

/// Leaves the first `limit` images by id and their objects; 0: all.
void keep_first_images(coco::Dataset& dataset, std::int64_t limit);

void eval_detector(const ModelFlags& model, const RunFlags& run, const CocoFlags& coco, const EvalDetectorFlags& flags);

}  // namespace igq::cli
