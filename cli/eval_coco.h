// igq eval --coco: detections scored by COCO's metric.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "coco/dataset.h"
#include "coco/detections.h"
#include "coco/evaluate.h"

namespace igq::cli {

/// --coco, --detections, --iou-type.
struct CocoFlags {
  std::string annotations, detections;
  std::vector<std::string> iou_types;  ///< "bbox", "segm"; empty: what the detections carry

  void add_to(CLI::App& app);
  bool given() const { return !annotations.empty() || !detections.empty() || !iou_types.empty(); }
};

/// An annotation file, with progress; notes on stderr what takes no part.
coco::Dataset read_coco_dataset(const std::string& path, coco::Needs needs);

/// coco::evaluate with progress.
coco::Evaluation evaluate_with_progress(const coco::Dataset& dataset, const std::vector<coco::Detection>& detections,
                                        coco::IouType type);

/// {"AP": ..., ..., "stats": [12], "AP_per_category": {id: AP}}.
nlohmann::json coco_json(const coco::Dataset& dataset, const coco::Evaluation& evaluation);
/// pycocotools' twelve lines.
std::string coco_text(const coco::Evaluation& evaluation);

/// igq eval --coco ANNOTATIONS --detections RESULTS: scores a result file and prints the figures.
void eval_detections(const CocoFlags& flags, bool json);

}  // namespace igq::cli
