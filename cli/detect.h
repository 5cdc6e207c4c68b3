// What the verbs do with a detector: boxes, labels, scores and masks of pictures.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common.h"
#include "detectors/detector_runner.h"
#include "detectors/open_detector.h"

namespace igq::cli {

/// Whether the MODEL argument is a detector.
bool names_detector(const ModelFlags& flags);

/// A detector that is ready to run.
class RunningDetector {
 public:
  /// Error for flags that have no meaning for detectors.
  RunningDetector(const ModelFlags& model, const RunFlags& run);

  const Detector& detector() const { return *loaded_.detector; }
  const LoadedDetector& loaded() const { return loaded_; }
  DetectorRunner& runner() { return *runner_; }
  Orientation orientation() const { return orientation_; }
  /// The picture of a file, turned upright unless --orientation says ignore: OpenCV (mmdetection) and transformers do
  /// so too. Errors name the file.
  Image load(const std::string& file) const;
  /// The objects of a picture; errors name the file.
  std::vector<Detection> detect(const Image& image, const std::string& file, float threshold);

 private:
  LoadedDetector loaded_;
  std::unique_ptr<DetectorRunner> runner_;
  Orientation orientation_;
};

struct PredictDetectionsFlags {
  std::optional<float> threshold;
  std::string draw;  ///< PNG; empty: none
  bool overwrite = false;
};

/// igq predict of a detector.
void predict_detections(const ModelFlags& model, const RunFlags& run, const std::vector<std::string>& images,
                        const PredictDetectionsFlags& flags);

}  // namespace igq::cli
