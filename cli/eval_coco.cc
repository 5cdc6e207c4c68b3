#include "eval_coco.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "base/fail.h"
#include "common.h"

namespace igq::cli {
namespace {

/// Progress of reading a file, in megabytes.
class ReadingFile {
 public:
  explicit ReadingFile(const std::string& path) : what_("reading " + path + ": MB") {}
  coco::ReadProgress callback() {
    return [this](std::uint64_t done, std::uint64_t total) {
      constexpr std::uint64_t kMegabyte = 1000000;
      if (!line_) line_ = std::make_unique<Progress>(what_, static_cast<std::int64_t>(total / kMegabyte));
      line_->update(static_cast<std::int64_t>(done / kMegabyte));
    };
  }

 private:
  std::string what_;
  std::unique_ptr<Progress> line_;
};

struct Types {
  bool boxes = false, masks = false;
};

Types types_of(const CocoFlags& flags) {
  Types types;
  for (const std::string& type : flags.iou_types) (type == "bbox" ? types.boxes : types.masks) = true;
  if (types.boxes || types.masks) return types;
  const auto [boxes, masks] = coco::detections_carry(flags.detections);
  return {boxes || !masks, masks};
}

}  // namespace

coco::Evaluation evaluate_with_progress(const coco::Dataset& dataset, const std::vector<coco::Detection>& detections,
                                        coco::IouType type) {
  Progress progress(type == coco::IouType::kBox ? "scoring boxes: categories" : "scoring masks: categories",
                    static_cast<std::int64_t>(dataset.categories.size()));
  return coco::evaluate(dataset, detections, type, progress.callback());
}

void CocoFlags::add_to(CLI::App& app) {
  app.add_option("--coco", annotations, "annotations in COCO's format (instances_*.json): AP of detections");
  app.add_option("--detections", detections,
                 "with --coco: score this result file (a list of image_id, category_id, score, bbox, segmentation)\n"
                 "as pycocotools does; no MODEL is needed. Where detections have boxes, small, medium and large are\n"
                 "told by the boxes' areas for masks too, as there");
  app.add_option("--iou-type", iou_types, "with --coco: bbox, segm or both; by default what the detections carry")
      ->check(CLI::IsMember({"bbox", "segm"}))
      ->delimiter(',');
}

coco::Dataset read_coco_dataset(const std::string& path, coco::Needs needs) {
  ReadingFile reading(path);
  coco::Dataset dataset = coco::read_dataset(path, needs, reading.callback());
  if (dataset.of_unknown_image > 0)
    note(fmt::format("{}: {} objects are of images that it does not list; they are left out", path,
                     dataset.of_unknown_image));
  if (dataset.of_unknown_category > 0)
    note(fmt::format("{}: {} objects are of categories that it does not list; they are left out", path,
                     dataset.of_unknown_category));
  for (const coco::Annotation& object : dataset.annotations)
    if (object.id == 0)
      note(fmt::format("{}: an annotation has the id 0, which COCO's metric takes for no match; number from 1", path));
  return dataset;
}

nlohmann::json coco_json(const coco::Dataset& dataset, const coco::Evaluation& evaluation) {
  nlohmann::json figures = {{"stats", evaluation.stats}};
  for (std::size_t i = 0; i < coco::kStatNames.size(); ++i)
    figures[std::string(coco::kStatNames[i])] = evaluation.stats[i];
  nlohmann::json categories = nlohmann::json::object();
  for (std::size_t k = 0; k < dataset.categories.size(); ++k)
    categories[std::to_string(dataset.categories[k].id)] = evaluation.category_precision[k];
  figures["AP_per_category"] = categories;
  return figures;
}

std::string coco_text(const coco::Evaluation& evaluation) {
  struct Line {
    bool precision;
    const char* iou;
    const char* area;
    int most;
  };
  static constexpr Line kLines[] = {
      {true, "0.50:0.95", "all", 100},    {true, "0.50", "all", 100},          {true, "0.75", "all", 100},
      {true, "0.50:0.95", "small", 100},  {true, "0.50:0.95", "medium", 100},  {true, "0.50:0.95", "large", 100},
      {false, "0.50:0.95", "all", 1},     {false, "0.50:0.95", "all", 10},     {false, "0.50:0.95", "all", 100},
      {false, "0.50:0.95", "small", 100}, {false, "0.50:0.95", "medium", 100}, {false, "0.50:0.95", "large", 100}};
  std::string text;
  for (std::size_t i = 0; i < evaluation.stats.size(); ++i) {
    const Line& line = kLines[i];
    text += fmt::format(" {:<18} {} @[ IoU={:<9} | area={:>6} | maxDets={:>3} ] = {:.3f}\n",
                        line.precision ? "Average Precision" : "Average Recall", line.precision ? "(AP)" : "(AR)",
                        line.iou, line.area, line.most, evaluation.stats[i]);
  }
  return text;
}

void eval_detections(const CocoFlags& flags, bool json) {
  const Types types = types_of(flags);
  const coco::Needs needs{types.boxes, types.masks};
  const coco::Dataset dataset = read_coco_dataset(flags.annotations, needs);
  coco::Detections found;
  {
    ReadingFile reading(flags.detections);
    found = coco::read_detections(flags.detections, dataset, needs, reading.callback());
  }
  if (found.of_unknown_category > 0)
    note(fmt::format("{}: {} detections are of categories that {} does not list; they are left out", flags.detections,
                     found.of_unknown_category, flags.annotations));
  nlohmann::json document = nlohmann::json::object();
  for (const coco::IouType type : {coco::IouType::kBox, coco::IouType::kMask}) {
    const bool boxes = type == coco::IouType::kBox;
    if (boxes ? !types.boxes : !types.masks) continue;
    const coco::Evaluation evaluation = evaluate_with_progress(dataset, found.list, type);
    if (json)
      document[boxes ? "bbox" : "segm"] = coco_json(dataset, evaluation);
    else
      std::cout << (boxes ? "boxes\n" : "masks\n") << coco_text(evaluation);
  }
  if (json) print_json(document);
}

}  // namespace igq::cli
