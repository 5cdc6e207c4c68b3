#include "pipeline/detect_dataset.h"

#include <algorithm>

#include "base/fail.h"

namespace igq {
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

}  // namespace

std::vector<Detection> detect_in_file(DetectorRunner& runner, const Image& image, const std::string& file,
                                      float threshold) {
  std::string fault;
  try {
    return runner.detect(image, threshold);
  } catch (const Error& e) {
    fault = e.what();
  }
  fail("{}: {}", file, fault);
}

FoundObjects detect_dataset(DetectorRunner& runner, const coco::Dataset& dataset, const DatasetRun& run,
                            const std::function<void(std::int64_t)>& tick) {
  const Detector& detector = runner.detector();
  FoundObjects found;
  std::vector<int> categories;
  for (std::size_t i = 0; i < dataset.images.size(); ++i) {
    const coco::ImageInfo& info = dataset.images[i];
    if (info.file_name.empty()) fail("the annotations name no file for image {}", info.id);
    const std::string file = (run.images / info.file_name).string();
    std::vector<Detection> objects;
    try {
      const Image image = load_image(file, run.orientation);
      if (detector.has_masks() && (image.height != info.height || image.width != info.width))
        fail("{} has {}x{} pixels, the annotations say {}x{}", file, image.width, image.height, info.width,
             info.height);
      objects = detect_in_file(runner, image, file, detector.evaluation_threshold());
    } catch (const Error& e) {
      if (!run.skip_bad_images) throw;
      found.bad_images.emplace_back(e.what());
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
    if (tick) tick(static_cast<std::int64_t>(i) + 1);
  }
  return found;
}

void take_mask_areas(const coco::Dataset& dataset, std::vector<coco::Detection>& detections) {
  for (coco::Detection& d : detections) {
    const coco::ImageInfo& info = dataset.images[static_cast<std::size_t>(d.image)];
    d.area = static_cast<double>(
        detection::rle_area(detection::rle_from_text(d.mask, info.height, info.width, "a detection's mask")));
  }
}

}  // namespace igq
