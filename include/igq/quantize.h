// Quantizing from a program of one's own: what `igq quantize` does, with progress and the means to stop.
//
//   igq::QuantizeRequest request;
//   request.model = "my_vit"; request.calibration = "photos"; request.output = "my_vit.igq";
//   request.options = {{"bits", "w4a4"}};
//   request.progress = [](const std::string& stage, std::int64_t done, std::int64_t total) { return true; };
//   std::string report = igq::quantize(request);  // JSON, the verdict among it
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "igq/error.h"
#include "igq/export.h"

namespace igq {

/// Thrown by quantize() when `progress` said to stop.
class Cancelled : public Error {
 public:
  using Error::Error;
};

struct QuantizeRequest {
  std::filesystem::path model;  ///< a checkpoint folder, a .safetensors file with `architecture`, or "hf:org/name"
  std::string architecture;     ///< timm name
  std::filesystem::path calibration;  ///< folder of images; labels are not needed
  std::filesystem::path output;       ///< the .igq file
  bool overwrite = false;
  int samples = 32;    ///< images of the folder that calibrate
  int held_back = -1;  ///< images that measure the result; below 0: up to 32 of those left over
  int threads = 0;     ///< 0: as Classifier's
  std::string isa = "auto";
  /// What decides the result, under the names of the flags of `igq quantize`: {"bits", "w4a4"}, {"preset", "paper"},
  /// {"balance", "true"}. The same options, model and images give the bytes that the program gives.
  std::vector<std::pair<std::string, std::string>> options;
  /// Hears of the work, from any thread, one call at a time; false stops it as soon as may be: quantize() then throws
  /// Cancelled and leaves no file.
  std::function<bool(const std::string& stage, std::int64_t done, std::int64_t total)> progress;
};

/// Writes request.output and gives a JSON document: output, settings, calibration_images, seconds, file_mb, notes and
/// verdict as `igq quantize --json` has them. Error as the program's.
IGQ_API std::string quantize(const QuantizeRequest& request);

/// Model `b` against model `a` on the images of a folder, at most `limit` of them (0: all): a JSON document with
/// images, agreement (percent of the same class), logits_snr_db and flips, as `igq compare --json` has them. Error as
/// the program's.
IGQ_API std::string compare(const std::filesystem::path& a, const std::filesystem::path& b,
                            const std::filesystem::path& images, std::int64_t limit = 0, int threads = 0);

}  // namespace igq
