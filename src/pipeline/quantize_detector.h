// From a float detector and pictures to a quantized one ready to be saved: statistics, plan, weights, and a verdict in
// objects. As quantize_model.h does it for classifiers; pictures keep their own sizes and come from disk one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "allocation/network_perturbation.h"
#include "detectors/detector_file.h"
#include "detectors/detector_runner.h"
#include "pipeline/detection_agreement.h"
#include "pipeline/quantize_model.h"

namespace igq {

/// Which parts of a detector are quantized.
enum class DetectorScope {
  kAll,       ///< every multiplication
  kBackbone,  ///< the backbone alone
};
std::string_view scope_name(DetectorScope scope);  ///< "all", "backbone"
DetectorScope parse_scope(std::string_view name);  ///< Error lists the names

struct DetectorPictures {
  std::int64_t count = 0;
  std::int64_t held_back = 0;  ///< pictures count, count + 1, ... only measure the result
  std::function<Image(std::int64_t)> load;
  std::string checksum;  ///< "xxh3:..." over the files' bytes in their order
};
/// Pictures of files, turned upright where the detector wants it. The files are read once here for the checksum.
DetectorPictures pictures_from_files(const Detector& detector, std::vector<std::filesystem::path> calibration,
                                     const std::vector<std::filesystem::path>& held_back);

struct DetectorReport {
  QuantizedDetector detector;    ///< without the network, which is that of the float detector with the plan attached
  DetectionAgreement agreement;  ///< integers with float, on pictures held back where there are any
  bool held_back = false;
  std::vector<SiteNoise> sites;   ///< layers on their own, on the first of these pictures
  std::vector<SiteShape> shapes;  ///< of the sites, as the calibration pictures have them (network_perturbation.h)
  std::optional<Allocation> allocation;         ///< when the job asks for it
  std::optional<BitAllocation> bit_allocation;  ///< likewise
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
  std::size_t calibration_bytes = 0;  ///< most memory of the statistics
};

/// The job and the scope in one line: stored as provenance.
std::string detector_job_text(const QuantizeJob& job, DetectorScope scope);

/// Error for settings that detectors do not have: reconstruction, a cache of divergences.
void check_detector_job(const QuantizeJob& job);

/// The job's options, with what a detector does not have taken out and what its scope leaves float.
QuantizeOptions detector_options(const QuantizeJob& job, DetectorScope scope);

/// Passes of a runner's detector over the calibration pictures. Both must outlive them.
CalibrationPasses detector_passes(DetectorRunner& runner, const DetectorPictures& pictures);

/// Quantizes `loaded`, whose network is left with the resulting plan and biases, prepared for integers. `noise_images`:
/// pictures that judge where none are held back; 0: no verdict, unless pictures are held back. The same input, options
/// and seed give the same result for any number of threads.
DetectorReport quantize_detector(LoadedDetector& loaded, const DetectorPictures& pictures, const QuantizeJob& job,
                                 DetectorScope scope, Isa isa, int threads, std::int64_t noise_images,
                                 const StageProgress& progress = {});

}  // namespace igq
