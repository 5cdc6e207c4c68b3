// What a user must know of a quantized model before using it, in numbers and in words: how often it predicts as the
// float model, how far its logits are off, which sites lose most, and whether that is too much.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/compare.h"

namespace igq {

/// A site whose output is off by a tenth of its energy when it alone is quantized.
inline constexpr double kSiteWarningDb = 10.0;
/// Percent of images that must be predicted as in float.
inline constexpr double kAgreementWarning = 95.0;

/// Mean cosine that the embeddings of a model without classes must keep.
inline constexpr double kCosineWarning = 0.98;

struct Verdict {
  std::int64_t images = 0;  ///< measured; 0: there is no verdict
  bool held_back = false;   ///< none of them was used for calibration
  std::int64_t agreements = 0;
  double agreement = 100.0;              ///< percent
  double agreement_interval = 0.0;       ///< half its 95 % interval
  double logits_snr = 0.0;               ///< dB, of the logits or the embedding
  std::optional<CosineSummary> cosines;  ///< of a model without classes, whose agreement says nothing
  std::vector<SiteNoise> worst_sites;    ///< at most five, measured alone, the worst first
  std::vector<std::string> warnings;     ///< in words; empty when nothing is wrong
};

/// `noise`: float against the quantized model.
Verdict judge(const Comparison& noise, bool held_back);

nlohmann::json verdict_to_json(const Verdict& verdict);

/// Lines for people, each with its end: the measured facts, without the warnings.
std::string verdict_text(const Verdict& verdict);

}  // namespace igq
