// A detector on the images of an annotation file in COCO's format, for COCO's metric.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "coco/dataset.h"
#include "coco/detections.h"
#include "detectors/detector_runner.h"

namespace igq {

struct DatasetRun {
  std::filesystem::path images;  ///< folder of the annotation file's images
  Orientation orientation = Orientation::kExif;
  bool skip_bad_images = false;
};

struct FoundObjects {
  std::vector<coco::Detection> list;
  std::int64_t without_category = 0;    ///< of labels that the data set does not list; left out
  std::vector<std::string> bad_images;  ///< what was wrong with those skipped
};

/// Everything the detector finds above its evaluation_threshold(); tick(done) is called after every image. Error for an
/// image without a file name, of another size than the annotations say (where masks are scored) or that cannot be read.
FoundObjects detect_dataset(DetectorRunner& runner, const coco::Dataset& dataset, const DatasetRun& run,
                            const std::function<void(std::int64_t)>& tick = {});

/// The objects of a picture; errors name the file.
std::vector<Detection> detect_in_file(DetectorRunner& runner, const Image& image, const std::string& file,
                                      float threshold);

/// mmdetection takes the boxes out for mask AP, so that sizes are those of the masks.
void take_mask_areas(const coco::Dataset& dataset, std::vector<coco::Detection>& detections);

}  // namespace igq
