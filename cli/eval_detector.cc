#include "eval_detector.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/fail.h"
#include "detect.h"

namespace igq::cli {
namespace {

/// The category of every label, by its name where the data set has one of the detector's names, by COCO's id otherwise;
/// -1 for labels that the data set does not know.
std::vector<int> categories_of(const Detector& detector, const coco::Dataset& dataset, int labels) {
  std::vector<int> by_name(static_cast<std::size_t>(labels), -1), by_id(by_name);
  bool named = false;
  for (int label = 0; label < labels; ++label) {
    const auto at = static_cast<std::size_t>(label);
    by_id[at] = dataset.category_of(detector.category_id(label));
    for (std::size_t k = 0; k < dataset.categories.size(); ++k) {
      if (detector.labels().empty() || dataset.categories[k].name != detector.label_name(label)) continue;
      by_name[at] = static_cast<int>(k);
      named = true;
    }
  }
  return named ? by_name : by_id;
}

/// The first images alone.
void cut(coco::Dataset& dataset, std::int64_t limit) {
  if (limit <= 0 || limit >= static_cast<std::int64_t>(dataset.images.size())) return;
  dataset.images.resize(static_cast<std::size_t>(limit));
  std::erase_if(dataset.annotations, [limit](const coco::Annotation& a) { return a.image >= limit; });
}

struct Found {
  std::vector<coco::Detection> list;
  std::int64_t without_category = 0;
  std::vector<std::string> bad_images;
};

Found run_images(RunningDetector& running, const coco::Dataset& dataset, const EvalDetectorFlags& flags) {
  const Detector& detector = running.detector();
  Found found;
  std::vector<int> categories;
  Progress progress("detecting: images", static_cast<std::int64_t>(dataset.images.size()));
  for (std::size_t i = 0; i < dataset.images.size(); ++i, progress.update(static_cast<std::int64_t>(i))) {
    const coco::ImageInfo& info = dataset.images[i];
    if (info.file_name.empty()) fail("the annotations name no file for image {}", info.id);
    const std::string file = (std::filesystem::path(flags.images) / info.file_name).string();
    std::vector<Detection> objects;
    try {
      const Image image = running.load(file);
      if (detector.has_masks() && (image.height != info.height || image.width != info.width))
        fail("{} has {}x{} pixels, the annotations say {}x{}", file, image.width, image.height, info.width,
             info.height);
      objects = running.detect(image, file, detector.evaluation_threshold());
    } catch (const Error& e) {
      if (!flags.skip_bad_images) throw;
      found.bad_images.emplace_back(e.what());
      continue;
    }
    for (const Detection& d : objects) {
      if (static_cast<std::size_t>(d.label) >= categories.size())
        categories =
            categories_of(detector, dataset, std::max(d.label + 1, static_cast<int>(detector.labels().size())));
      const int category = categories[static_cast<std::size_t>(d.label)];
      if (category < 0) {
        ++found.without_category;
        continue;
      }
      coco::Detection out;
      out.image = static_cast<int>(i);
      out.category = category;
      out.score = static_cast<double>(d.score);
      out.box = detection::xywh(d.box);
      out.area = out.box[2] * out.box[3];
      if (d.mask) out.mask = detection::rle_to_text(*d.mask);
      found.list.push_back(std::move(out));
    }
  }
  return found;
}

}  // namespace

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
  cut(dataset, flags.limit);
  Found found = run_images(running, dataset, flags);
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
    // mmdetection takes the boxes out for mask AP, so that sizes are those of the masks.
    for (coco::Detection& d : found.list) {
      const coco::ImageInfo& info = dataset.images[static_cast<std::size_t>(d.image)];
      d.area = static_cast<double>(
          detection::rle_area(detection::rle_from_text(d.mask, info.height, info.width, "a detection's mask")));
    }
    score(coco::IouType::kMask, "segm", "masks");
  }
  if (run.json) print_json(document);
}

}  // namespace igq::cli
