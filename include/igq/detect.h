// Objects in pictures: Mask R-CNN and its kin with Swin, YOLOS, DETR (docs/detection.md).
//
//   igq::ObjectDetector detector("mask_rcnn");
//   for (const igq::DetectedObject& object : detector.detect(igq::ImageSource::file("street.jpg"))) ...
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "igq/error.h"
#include "igq/export.h"
#include "igq/image.h"

namespace igq {

struct DetectorOptions {
  std::string architecture;  ///< e.g. "mask_rcnn_swin_t_fpn", for weights without config.json
  int threads = 0;           ///< 0: as Classifier's
  std::string isa = "auto";
};

struct DetectedObject {
  std::array<double, 4> box{};  ///< x, y of the upper left corner, width, height, in pixels of the picture
  double score = 0.0;
  int label = 0;                        ///< index into labels()
  int category = 0;                     ///< its id in files of COCO's form
  std::string name;                     ///< of the label
  int mask_height = 0, mask_width = 0;  ///< the picture's; 0 without masks
  std::vector<std::uint8_t> mask;       ///< [height][width], 1 where the object is
};

class IGQ_API ObjectDetector {
 public:
  /// Error: no such file, no detector igq runs, damaged, unknown instruction set.
  explicit ObjectDetector(const std::filesystem::path& model, const DetectorOptions& options = {});
  ~ObjectDetector();
  ObjectDetector(ObjectDetector&&) noexcept;
  ObjectDetector& operator=(ObjectDetector&&) noexcept;

  /// Objects with a score above `threshold`, best first; below 0: the checkpoint's own threshold. One call at a time.
  /// Error when the picture cannot be read, or for normalised values, which have lost the picture's size.
  std::vector<DetectedObject> detect(const ImageSource& image, double threshold = -1.0);

  const std::vector<std::string>& labels() const;
  const std::string& architecture() const;
  double default_threshold() const;

  /// Whether `model` names a detector (and not a classifier).
  static bool is_one(const std::filesystem::path& model, const std::string& architecture = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace igq
