// COCO's result files: a list of detections {image_id, category_id, score, bbox, segmentation}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "coco/dataset.h"

namespace igq::coco {

/// `image` and `category` are positions in the data set's lists.
struct Detection {
  int image = 0, category = 0;
  double score = 0.0;
  double area = 0.0;  ///< what the sizes small, medium, large go by
  XYWH box{};
  std::string mask;  ///< COCO's text of run lengths; empty unless masks were asked for
};

struct Detections {
  std::vector<Detection> list;                ///< in the file's order
  bool has_boxes = false, has_masks = false;  ///< what the first detection carries
  std::int64_t of_unknown_category = 0;       ///< left out, as by pycocotools
};

/// Reads a result file as pycocotools' loadRes does: where the first detection has a box, areas are those of boxes (and
/// a detection without a mask gets its box as one); otherwise areas and boxes are those of the masks. Error for a
/// detection of an image that `dataset` lacks, for missing or impossible fields and for masks of another size than
/// their image.
Detections read_detections(const std::filesystem::path& path, const Dataset& dataset, Needs needs,
                           const ReadProgress& progress = {});

/// Whether a result file's first detection has a box and whether it has a mask; both false for an empty list.
std::pair<bool, bool> detections_carry(const std::filesystem::path& path);

/// A result file as write_detections() writes it, one record to a line.
extern const OutputKind kDetectionsOutput;

/// Writes a result file: ids of `dataset`, scores and boxes with as many digits as read back to the same double, masks
/// as run lengths where there are any. The file appears whole or not at all.
void write_detections(const std::filesystem::path& path, const Dataset& dataset,
                      const std::vector<Detection>& detections, bool overwrite);

}  // namespace igq::coco
