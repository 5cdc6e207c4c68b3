#include "pipeline/quantize_time.h"

namespace igq {
namespace {

// In float passes, for each image.
constexpr double kStatistics = 2.0;  ///< the pass, and the ranges and moments of what it sees
constexpr double kComparison = 3.0;  ///< each layer with one quantizer and with its own
constexpr double kRounding =
    14.0;  ///< of each view: quantized passes, and the products that the second-order methods sum up
constexpr double kJudging = 4.0;  ///< float, integers, and every layer alone
/// Solving costs so many times the multiply-adds that it counts: Cholesky and rounding go column by column.
constexpr double kSolving = 25.0;

}  // namespace

double predicted_seconds(std::span<const SiteShape> shapes, const QuantizeOptions& options, const QuantizeWork& work) {
  const bool rounded = options.weights != WeightMethod::kNearest;
  double macs = 0.0, solving = 0.0;
  for (const SiteShape& shape : shapes) {
    macs += static_cast<double>(shape.macs());
    if (shape.attention || shape.contraction() > work.most_inputs) continue;
    const auto in = static_cast<double>(shape.contraction());
    solving += in * in * (in + static_cast<double>(shape.out));
  }
  double passes = kStatistics;
  if (options.never_worse) passes += kComparison;
  if (rounded) passes += kRounding * options.views;
  double seconds = work.pass_seconds * (passes * static_cast<double>(work.images) +
                                        kJudging * static_cast<double>(work.judged) + static_cast<double>(work.trials));
  if (rounded && macs > 0.0) seconds += kSolving * solving / macs * work.pass_seconds;
  return seconds;
}

}  // namespace igq
