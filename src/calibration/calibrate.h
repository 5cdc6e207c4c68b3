// Calibration: float passes over a few images -> statistics -> QuantizationPlan (docs/method.md, sections 3 to 5 and
// 7).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibration/passes.h"
#include "calibration/statistics.h"

namespace igq {

/// How a group's bounds follow from the (min, max) points assigned to it.
enum class GroupBounds {
  kMean,      ///< the literal reading of the paper's Eqs. 5 and 6: mean minimum and mean maximum; clips
  kEnvelope,  ///< 10 % quantile of the minima, 90 % quantile of the maxima: clips less
  kMse,       ///< least expected squared error of rounding and clipping together: the reading of `paper`
};

std::string_view group_bounds_name(GroupBounds bounds);  ///< "mean", "envelope", "mse"
GroupBounds parse_group_bounds(std::string_view name);   ///< Error lists the names

/// How weight codes are chosen.
enum class WeightMethod {
  kNearest,  ///< "rtn": each weight to the nearest code (the paper)
  kGptq,     ///< second-order rounding on the calibration images (rounding.h)
  kErq,      ///< the same after ridge compensation of the activation error (refine.h)
  kAuto,     ///< of these the one that leaves the least output error on images held back, layer by layer
};
std::string_view weight_method_name(WeightMethod method);  ///< "rtn", "gptq", "erq", "auto"
WeightMethod parse_weight_method(std::string_view name);   ///< Error lists the names

struct QuantizeOptions {
  int weight_bits = 4;
  int activation_bits = 4;
  int first_last_bits = 8;  ///< patch embedding and head, weights and activations; 32 keeps them float
  Grouping grouping = Grouping::kIgq;
  int groups = 8;
  bool integer_ratios = false;  ///< kScale: scales are integer multiples of one unit (slot_ratios)
  GroupBounds bounds = GroupBounds::kMean;
  std::optional<Grouping> softmax_grouping;  ///< default: `grouping`
  std::optional<QkvGrouping> qkv_grouping;   ///< default: default_qkv_grouping(grouping)
  double weight_quantile = 1e-4;  ///< of weights rounded to nearest: share clipped at either end of an output channel
  WeightMethod weights = WeightMethod::kNearest;
  int weight_groups = 0;    ///< inputs per weight group, for weights of 2 to 4 bits (quant/weight_groups.h); 0: none
  bool never_worse = true;  ///< a site whose groups lose more than one quantizer would takes the one (better_plans.h)
  bool centre_v = false;    ///< codes of v less its mean over the tokens (QkvPlan::centred)
  bool centre_k = false;    ///< codes of k less its mean over the tokens, with q, k, v by row (QkvPlan::centred_k)
  bool balance = false;     ///< balance_queries_and_keys() before everything else (balance.h)
  // Of kGptq and kErq:
  int views = 4;        ///< of each calibration image, 1 to kMaxViews (views.h)
  double ridge = 0.05;  ///< lambda over the mean second moment of the layer's inputs
  std::vector<float> clipping = {1.0f, 0.9f, 0.8f,
                                 0.7f};  ///< factors of the weight bounds, the best per output channel
  bool reconstruct = false;  ///< reconstruct_blocks() after weights are rounded, whatever the method (reconstruct.h)
  double reconstruct_minutes = 0.0;  ///< its time limit; 0: none
  std::uint64_t seed = 0;
  std::string keep;  ///< regex: sites that stay float; empty: none
  /// regex -> {weight bits, activation bits}; the last match wins.
  std::vector<std::pair<std::string, std::pair<int, int>>> site_bits;
  /// Bits of single sites, from allocation: site name -> {weight bits, activation bits}; site_bits wins.
  std::map<std::string, std::pair<int, int>> allocated_bits;
  /// Groups of single sites, from allocation: site name -> groups. Others use `groups`.
  std::map<std::string, int> site_groups;
};

/// Settings with a name; bits and groups are the caller's.
enum class Preset {
  kBest,   ///< "best": what docs/accuracy.md found best: grouping `scale`, a scale per softmax row, weights rounded as
           ///< fits each layer best, balanced queries and keys, centred k and v
  kPaper,  ///< "paper": the method of the paper in its best reading (bounds kMse), nothing else
};
std::string_view preset_name(Preset preset);
Preset parse_preset(std::string_view name);  ///< Error lists the names
QuantizeOptions preset_options(Preset preset);

QkvGrouping default_qkv_grouping(Grouping grouping);

/// Calls after(i) after each image, for progress. Images come from `load` one at a time.
Statistics collect_statistics(const CalibrationPasses& passes, std::uint64_t seed,
                              const std::function<void(std::int64_t)>& after = {});
Statistics collect_statistics(Runner& runner, std::int64_t images, std::uint64_t seed,
                              const std::function<void(std::int64_t, float*)>& load,
                              const std::function<void(std::int64_t)>& after = {});

/// Bits a site gets under the options (0 weight bits / 32 activation bits: float).
struct SiteBits {
  int weight = 0, activation = 32;
  bool is_float() const { return weight == 0; }
};
SiteBits bits_of(const Site& site, const QuantizeOptions& options);

/// The quantizers of one FC input and of one attention; pure functions of statistics and options.
ActivationPlan plan_input(const Site& site, const LinearStatistics& statistics, const QuantizeOptions& options,
                          int groups);
AttentionPlan plan_attention(const Site& site, const AttentionStatistics& statistics, const QuantizeOptions& options,
                             int groups);

/// The whole plan with weights rounded to nearest. Sites are worked on in parallel; the result does not depend on it.
/// Sites that no image has reached stay float.
QuantizationPlan make_plan(const Network& network, const Statistics& statistics, const QuantizeOptions& options,
                           ThreadPool& pool);

}  // namespace igq
