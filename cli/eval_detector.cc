#include "eval_detector.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "base/fail.h"
#include "detect.h"
#include "pipeline/detect_dataset.h"

namespace igq::cli {
void keep_first_images(coco::Dataset& dataset, std::int64_t limit) {
  if (limit <= 0 || limit >= static_cast<std::int64_t>(dataset.images.size())) return;
  dataset.images.resize(static_cast<std::size_t>(limit));
  std::erase_if(dataset.annotations, [limit](const coco::Annotation& a) { return a.image >= limit; });
}

void eval_detector(const ModelFlags& model, const RunFlags& run, const CocoFlags& coco,
                   const EvalDetectorFlags& flags) {
  check_output(flags.results_file, flags.overwrite, coco::kDetectionsOutput);
  RunningDetector running(model, run);
  const bool masks = running.detector().has_masks();
  const auto wanted = [&](const char* type) {
    return coco.iou_types.empty() ||
           std::find(coco.iou_types.begin(), coco.iou_types.end(), type) != coco.iou_types.end();
  };
  const bool score_masks = masks && wanted("segm");
  if (!masks && !wanted("bbox")) fail("{} finds boxes without masks: --iou-type segm has nothing to score", model.path);
  coco::Dataset dataset = read_coco_dataset(coco.annotations, {true, score_masks});
  keep_first_images(dataset, flags.limit);
  FoundObjects found;
  {
    Progress progress("detecting: images", static_cast<std::int64_t>(dataset.images.size()));
    found = detect_dataset(running.runner(), dataset, {flags.images, running.orientation(), flags.skip_bad_images},
                           progress.callback());
  }
  if (found.without_category > 0)
    note(fmt::format("{} detections are of labels that {} does not list; they are left out", found.without_category,
                     coco.annotations));
  for (const std::string& bad : found.bad_images) note("skipped: " + bad);
  if (!flags.results_file.empty()) coco::write_detections(flags.results_file, dataset, found.list, flags.overwrite);
  nlohmann::json document = nlohmann::json::object();
  const auto score = [&](coco::IouType type, const char* name, const char* title) {
    const coco::Evaluation evaluation = evaluate_with_progress(dataset, found.list, type);
    if (run.json)
      document[name] = coco_json(dataset, evaluation);
    else
      std::cout << title << '\n' << coco_text(evaluation);
  };
  if (wanted("bbox")) score(coco::IouType::kBox, "bbox", "boxes");
  if (score_masks) {
    take_mask_areas(dataset, found.list);
    score(coco::IouType::kMask, "segm", "masks");
  }
  if (run.json) print_json(document);
}

}  // namespace igq::cli
