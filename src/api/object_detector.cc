// The public ObjectDetector; see include/igq/detect.h.
#include <utility>

#include "base/fail.h"
#include "base/memory_reserve.h"
#include "detectors/detector_runner.h"
#include "detectors/open_detector.h"
#include "guarded.h"
#include "igq/detect.h"
#include "source.h"

namespace igq {

struct ObjectDetector::Impl {
  LoadedDetector loaded;
  DetectorRunner runner;

  Impl(const std::filesystem::path& model, const DetectorOptions& options)
      : loaded(load_detector(model, options.architecture)),
        runner(*loaded.detector, loaded.quantized ? Execution::kInteger : Execution::kFloat, parse_isa(options.isa),
               options.threads) {}
};

ObjectDetector::ObjectDetector(const std::filesystem::path& model, const DetectorOptions& options) {
  impl_ = guarded([&] {
    const MemoryReserve reserve;
    return std::make_unique<Impl>(model, options);
  });
}
ObjectDetector::~ObjectDetector() = default;
ObjectDetector::ObjectDetector(ObjectDetector&&) noexcept = default;
ObjectDetector& ObjectDetector::operator=(ObjectDetector&&) noexcept = default;

std::vector<DetectedObject> ObjectDetector::detect(const ImageSource& image, double threshold) {
  return guarded([&] {
    const MemoryReserve reserve;
    const Detector& detector = impl_->runner.detector();
    const Image picture =
        decode_source(image, detector.applies_orientation() ? Orientation::kExif : Orientation::kIgnore);
    const float least = threshold < 0.0 ? detector.default_threshold() : static_cast<float>(threshold);
    std::vector<DetectedObject> objects;
    for (const Detection& d : impl_->runner.detect(picture, least)) {
      objects.push_back({detection::xywh(d.box), static_cast<double>(d.score), d.label, detector.category_id(d.label),
                         detector.label_name(d.label), d.mask ? d.mask->height : 0, d.mask ? d.mask->width : 0,
                         d.mask ? detection::rle_to_mask(*d.mask) : std::vector<std::uint8_t>{}});
    }
    return objects;
  });
}

const std::vector<std::string>& ObjectDetector::labels() const { return impl_->loaded.detector->labels(); }
const std::string& ObjectDetector::architecture() const { return impl_->loaded.detector->architecture(); }
double ObjectDetector::default_threshold() const {
  return static_cast<double>(impl_->loaded.detector->default_threshold());
}
bool ObjectDetector::is_one(const std::filesystem::path& model, const std::string& architecture) {
  return guarded([&] { return is_detector(model, architecture); });
}

}  // namespace igq
