// How far a detector's objects are those of another one, its float original: no annotations are needed. The original's
// objects count as the truth of COCO's metric, and as partners to be found again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "detectors/detector.h"

namespace igq {

/// Objects of the original below this score are no truth: guesses of a few percent come and go with the last bit.
inline constexpr float kTruthScore = 0.3f;
/// Percent of objects that must be found again.
inline constexpr double kFoundWarning = 95.0;

struct DetectionAgreement {
  std::int64_t images = 0;
  std::int64_t objects = 0;              ///< of the original, with scores above the truth's threshold
  std::int64_t found = 0;                ///< of these, matched: the same label, IoU of boxes at least 0.5
  std::int64_t invented = 0;             ///< above the threshold without such a partner in the original at all
  double box_iou = 0.0;                  ///< mean over what was found
  double mask_iou = 0.0;                 ///< likewise; 0 without masks
  double score_change = 0.0;             ///< mean absolute difference of scores
  double box_ap = -1.0, mask_ap = -1.0;  ///< COCO's AP, 0 to 100; -1 without objects (or masks)
  bool masks = false;

  double found_percent() const {
    return objects == 0 ? 100.0 : 100.0 * static_cast<double>(found) / static_cast<double>(objects);
  }
};

/// Collects the pictures one by one.
class AgreementCounter {
 public:
  /// truth: the score above which the original's objects count (at least kTruthScore).
  AgreementCounter(const Detector& detector, float truth) : detector_(detector), truth_(truth) {}
  /// What both found in a picture of height x width, with all scores that the evaluation takes.
  void add(const std::vector<Detection>& original, const std::vector<Detection>& other, int height, int width);
  DetectionAgreement result() const;

 private:
  struct Picture {
    std::vector<Detection> original, other;
    int height = 0, width = 0;
  };
  const Detector& detector_;
  float truth_;
  std::vector<Picture> pictures_;
};

/// The threshold of truth for a detector: its own, but no less than kTruthScore.
float truth_threshold(const Detector& detector);

nlohmann::json agreement_to_json(const DetectionAgreement& agreement);
/// The inverse. Error for what is missing or of another kind.
DetectionAgreement agreement_from_json(const nlohmann::json& in);
/// One line for people, with its end.
std::string agreement_text(const DetectionAgreement& agreement);
/// What must not be missed, in words; empty when nothing is wrong.
std::vector<std::string> agreement_warnings(const DetectionAgreement& agreement, bool held_back);

}  // namespace igq
