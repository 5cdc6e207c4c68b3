#include "calibration/calibrate.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/fail.h"
#include "calibration/error_bounds.h"
#include "calibration/site_pattern.h"
#include "calibration/slot_ratios.h"
#include "quant/clustering.h"
#include "quant/weight_groups.h"
#include "quant/weights.h"

namespace igq {
namespace {

std::uint64_t site_seed(const Site& site, std::uint64_t seed) {
  std::uint64_t h = 0xCBF29CE484222325ULL ^ seed;  // FNV-1a of the name: the seed does not depend on other sites
  for (char c : site.name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return h;
}

float quantile_of(std::vector<float> values, double q) {
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

std::vector<Bounds> igq_bounds(const std::vector<Bounds>& points, int groups, int bits, GroupBounds kind,
                               std::uint64_t seed) {
  if (kind == GroupBounds::kMse) return least_error_bounds(points, groups, bits, seed);
  Clusters clusters = cluster_bounds(points, groups, seed);
  if (kind == GroupBounds::kMean) return clusters.centres;
  for (std::size_t g = 0; g < clusters.centres.size(); ++g) {
    std::vector<float> lower, upper;
    for (std::size_t i = 0; i < points.size(); ++i)
      if (clusters.assignment[i] == static_cast<std::int32_t>(g)) {
        lower.push_back(points[i].lower);
        upper.push_back(points[i].upper);
      }
    if (!lower.empty()) clusters.centres[g] = {quantile_of(std::move(lower), 0.1), quantile_of(std::move(upper), 0.9)};
  }
  return clusters.centres;
}

Bounds merged(const std::vector<Bounds>& all, std::size_t begin, std::size_t end) {
  Bounds result = all[begin];
  for (std::size_t i = begin; i < end; ++i) {
    result.lower = std::min(result.lower, all[i].lower);
    result.upper = std::max(result.upper, all[i].upper);
  }
  return result;
}

/// What ranges count as (ZeroPointLimits).
std::vector<float> widths_of(const std::vector<Bounds>& points, float offset_width) {
  std::vector<float> widths(points.size());
  std::transform(points.begin(), points.end(), widths.begin(),
                 [&](Bounds b) { return std::max(b.upper - b.lower, offset_width * std::abs(b.lower + b.upper)); });
  return widths;
}

std::vector<Bounds> scale_bounds(const std::vector<Bounds>& points, int groups, float offset_width) {
  std::vector<Bounds> result;
  for (float w : cluster_widths(widths_of(points, offset_width), groups)) result.push_back({0.0f, w});
  return result;
}

/// Scales that are multiples of one unit. The last is a spare one for channels of other images, half as wide again as
/// the widest of calibration.
void plan_ratios(int channels, const std::vector<Bounds>& points, int groups, ActivationPlan& plan) {
  plan.multiples = {1};
  const float offset_width = zero_point_limits(plan, channels).offset_width;
  IntegerRatios ratios = slot_ratios(widths_of(points, offset_width), groups, plan.bits, channels);
  if (const std::int32_t spare = spare_multiple(ratios.multiples.back(), plan.bits, channels);
      spare > ratios.multiples.back())
    ratios.multiples.push_back(spare);
  plan.multiples = ratios.multiples;
  plan.unit = ratios.unit;
  for (const std::int32_t m : ratios.multiples)
    plan.groups.push_back({0.0f, static_cast<float>(m) * ratios.unit * static_cast<float>(code_max(plan.bits))});
}

/// Bounds of one colour of which 8 bits hold every pixel exactly: with them (p / 255 - mean) / std is (p - 255 mean)
/// steps, whose rounding is the same shift for every pixel, which a bias takes up. Where 255 mean ends in a half,
/// roundings to either side would alternate with the pixel: then a step wider by a 255th spreads them evenly.
Bounds pixel_bounds(float mean, float std) {
  const float shift = 255.0f * mean, part = shift - std::floor(shift);
  const float widened = std::abs(part - 0.5f) < 0.02f ? 256.0f / 255.0f : 1.0f;
  return {-mean / std * widened, (1.0f - mean) / std * widened};
}

/// The patch embedding's input as pixels, a group per colour; false where it holds other values.
bool plan_pixels(const std::optional<PixelScale>& pixels, const LinearStatistics& statistics, ActivationPlan& plan) {
  constexpr std::size_t kColours = 3;
  const std::size_t per_colour = statistics.channels.size() / kColours;
  if (!pixels || statistics.channels.size() % kColours != 0) return false;
  std::vector<Bounds> groups;
  for (std::size_t c = 0; c < kColours; ++c) {
    groups.push_back(pixel_bounds(pixels->mean[c], pixels->std[c]));
    const Bounds seen = merged(statistics.channels, c * per_colour, (c + 1) * per_colour);
    const float step = (groups[c].upper - groups[c].lower) / 255.0f;
    if (seen.lower < groups[c].lower - 0.5f * step || seen.upper > groups[c].upper + 0.5f * step) return false;
  }
  plan.grouping = Grouping::kStaticGroup;  // channels run over colour, row, column
  plan.from_image = false;
  plan.groups = std::move(groups);
  return true;
}

}  // namespace

std::string_view group_bounds_name(GroupBounds bounds) {
  constexpr std::array<std::string_view, 3> kNames{"mean", "envelope", "mse"};
  return kNames[static_cast<std::size_t>(bounds)];
}

GroupBounds parse_group_bounds(std::string_view name) {
  for (const GroupBounds bounds : {GroupBounds::kMean, GroupBounds::kEnvelope, GroupBounds::kMse})
    if (group_bounds_name(bounds) == name) return bounds;
  fail("unknown bounds '{}': mean (the paper's), envelope or mse", name);
}

std::string_view weight_method_name(WeightMethod method) {
  constexpr std::array<std::string_view, 4> kNames{"rtn", "gptq", "erq", "auto"};
  return kNames[static_cast<std::size_t>(method)];
}

WeightMethod parse_weight_method(std::string_view name) {
  for (const WeightMethod method :
       {WeightMethod::kNearest, WeightMethod::kGptq, WeightMethod::kErq, WeightMethod::kAuto})
    if (weight_method_name(method) == name) return method;
  fail("unknown weight method '{}': use one of rtn, gptq, erq, auto", name);
}

std::string_view preset_name(Preset preset) { return preset == Preset::kBest ? "best" : "paper"; }

Preset parse_preset(std::string_view name) {
  if (name == "best") return Preset::kBest;
  if (name == "paper") return Preset::kPaper;
  fail("unknown preset '{}': use one of best, paper", name);
}

QuantizeOptions preset_options(Preset preset) {
  QuantizeOptions options;
  if (preset == Preset::kPaper) {
    options.bounds = GroupBounds::kMse;  // means clip half of a group's channels: at 8 bits that alone costs 15 dB
    return options;
  }
  options.grouping = Grouping::kScale;
  options.integer_ratios = true;
  options.softmax_grouping = Grouping::kUpperBound;
  options.qkv_grouping = QkvGrouping::kRow;
  options.balance = true;
  options.centre_v = true;
  options.centre_k = true;
  options.weights = WeightMethod::kAuto;
  options.weight_groups = 64;     // of 2 to 4 bits only
  options.weight_quantile = 0.0;  // patch embedding and head: 8 bits lose more to clipping than they gain
  return options;
}

QkvGrouping default_qkv_grouping(Grouping grouping) {
  switch (grouping) {
    case Grouping::kFloat:
      return QkvGrouping::kFloat;
    case Grouping::kLayer:
      return QkvGrouping::kTensor;
    case Grouping::kStaticGroup:
    case Grouping::kIgq:
      return QkvGrouping::kHead;
    case Grouping::kScale:
    case Grouping::kUpperBound:
      break;
  }
  return QkvGrouping::kRow;
}

Statistics collect_statistics(const CalibrationPasses& passes, std::uint64_t seed,
                              const std::function<void(std::int64_t)>& after) {
  Statistics statistics(*passes.network, seed);
  for (std::int64_t i = 0; i < passes.images; ++i) {
    passes.run(i, statistics);
    statistics.end_image();
    if (after) after(i);
  }
  return statistics;
}

Statistics collect_statistics(Runner& runner, std::int64_t images, std::uint64_t seed,
                              const std::function<void(std::int64_t, float*)>& load,
                              const std::function<void(std::int64_t)>& after) {
  return collect_statistics(runner_passes(runner, images, load), seed, after);
}

SiteBits bits_of(const Site& site, const QuantizeOptions& options) {
  if (!options.keep.empty() && std::regex_search(site.name, site_pattern(options.keep))) return {};
  SiteBits bits{options.weight_bits, options.activation_bits};
  if (site.first_or_last || site.output) bits = {options.first_last_bits, options.first_last_bits};
  if (const auto given = options.allocated_bits.find(site.name); given != options.allocated_bits.end())
    bits = {given->second.first, given->second.second};
  for (const auto& [pattern, pair] : options.site_bits)
    if (std::regex_search(site.name, site_pattern(pattern))) bits = {pair.first, pair.second};
  return bits.weight > 8 ? SiteBits{} : bits;
}

ActivationPlan plan_input(const Site& site, const LinearStatistics& statistics, const QuantizeOptions& options,
                          int groups) {
  ActivationPlan plan;
  plan.bits = bits_of(site, options).activation;
  if (plan.bits > 8) return {};
  plan.grouping = options.grouping;
  // A single row has no range per channel, pixels are alike in every channel: one quantizer for the site.
  if (site.max_rows == 1 || site.first_or_last) {
    plan.from_image =
        plan.grouping == Grouping::kIgq || plan.grouping == Grouping::kScale || plan.grouping == Grouping::kUpperBound;
    plan.grouping = Grouping::kLayer;
  }
  plan.unclipped = plan.grouping == Grouping::kScale;
  const auto channels = statistics.channels.size();
  groups = std::clamp(groups, 1, static_cast<int>(channels));
  const auto& points = statistics.points.points();
  switch (plan.grouping) {
    case Grouping::kLayer:
      plan.groups = {merged(statistics.channels, 0, channels)};
      break;
    case Grouping::kStaticGroup:
      for (int g = 0; g < groups; ++g) {
        // Channel c belongs to group c * groups / channels: the same rule as assign_channels().
        const auto first = [&](int i) {
          return (static_cast<std::size_t>(i) * channels + static_cast<std::size_t>(groups) - 1) /
                 static_cast<std::size_t>(groups);
        };
        plan.groups.push_back(merged(statistics.channels, first(g), first(g + 1)));
      }
      break;
    case Grouping::kIgq:
      plan.groups = igq_bounds(points, groups, plan.bits, options.bounds, site_seed(site, options.seed));
      break;
    case Grouping::kScale:
      if (options.integer_ratios)
        plan_ratios(static_cast<int>(channels), points, groups, plan);
      else
        plan.groups = scale_bounds(points, groups, zero_point_limits(plan, static_cast<int>(channels)).offset_width);
      break;
    case Grouping::kUpperBound:
    case Grouping::kFloat:
      break;
  }
  return plan;
}

AttentionPlan plan_attention(const Site& site, const AttentionStatistics& statistics, const QuantizeOptions& options,
                             int groups) {
  AttentionPlan plan;
  const SiteBits bits = bits_of(site, options);
  if (bits.activation > 8) return plan;
  plan.qkv.bits = plan.softmax.bits = bits.activation;
  plan.qkv.grouping = options.qkv_grouping.value_or(default_qkv_grouping(options.grouping));
  plan.qkv.centred = options.centre_v && plan.qkv.grouping != QkvGrouping::kFloat;
  plan.qkv.centred_k = options.centre_k && plan.qkv.grouping == QkvGrouping::kRow;
  const std::vector<Bounds>& v = plan.qkv.centred ? statistics.centred_v : statistics.v;
  auto whole = [](const std::vector<Bounds>& heads) { return std::vector<Bounds>{merged(heads, 0, heads.size())}; };
  if (plan.qkv.grouping == QkvGrouping::kTensor) {
    plan.qkv.q = whole(statistics.q);
    plan.qkv.k = whole(statistics.k);
    plan.qkv.v = whole(v);
  } else if (plan.qkv.grouping == QkvGrouping::kHead) {
    plan.qkv.q = statistics.q;
    plan.qkv.k = statistics.k;
    plan.qkv.v = v;
  }
  ActivationPlan& softmax = plan.softmax;
  softmax.grouping = options.softmax_grouping.value_or(options.grouping);
  const auto& positions = statistics.row_position_max;
  const auto rows = static_cast<int>(positions.size());
  groups = std::clamp(groups, 1, rows);
  auto largest = [&](std::int64_t begin, std::int64_t end) {
    return Bounds{0.0f, *std::max_element(positions.begin() + begin, positions.begin() + end)};
  };
  switch (softmax.grouping) {
    case Grouping::kLayer:
      softmax.groups = {largest(0, rows)};
      break;
    case Grouping::kStaticGroup:
      for (std::int64_t g = 0; g < groups; ++g)
        softmax.groups.push_back(largest((g * rows + groups - 1) / groups, ((g + 1) * rows + groups - 1) / groups));
      break;
    case Grouping::kIgq:
      softmax.groups =
          igq_bounds(statistics.row_max.points(), groups, softmax.bits, options.bounds, site_seed(site, options.seed));
      break;
    case Grouping::kScale:
      softmax.groups = scale_bounds(statistics.row_max.points(), groups, 0.0f);
      break;
    case Grouping::kUpperBound:
    case Grouping::kFloat:
      break;
  }
  return plan;
}

QuantizationPlan make_plan(const Network& network, const Statistics& statistics, const QuantizeOptions& options,
                           ThreadPool& pool) {
  QuantizationPlan plan;
  const auto sites = network.sites();
  const std::vector<std::string> unseen = statistics.unseen();
  std::vector<std::size_t> quantized;
  for (std::size_t i = 0; i < sites.size(); ++i) {  // every entry first: the threads below must not change the maps
    const Site& site = sites[i];
    if (bits_of(site, options).is_float() || std::find(unseen.begin(), unseen.end(), site.name) != unseen.end())
      continue;
    if (site.has_weights())
      plan.linears[site.name];
    else
      plan.attentions[site.name];
    quantized.push_back(i);
  }
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t n = next.fetch_add(1); n < quantized.size(); n = next.fetch_add(1)) {
      const std::size_t i = quantized[n];
      const Site& site = sites[i];
      const SiteBits bits = bits_of(site, options);
      const auto given = options.site_groups.find(site.name);
      const int groups = given == options.site_groups.end() ? options.groups : given->second;
      const int id = static_cast<int>(i);
      if (site.attention != nullptr) {
        plan.attentions.at(site.name) = plan_attention(site, statistics.attention(id), options, groups);
        continue;
      }
      const AlignedBuffer<float> weight = site.weight();
      const int in = site.contraction(), out = site.outputs(),
                group_size = effective_group_size(options.weight_groups, bits.weight, in);
      plan.linears.at(site.name) = {
          plan_input(site, statistics.linear(id), options, groups),
          group_size == 0 ? quantize_weights(weight, in, out, bits.weight, options.weight_quantile)
                          : quantize_grouped_weights(weight, in, out, bits.weight, group_size, options.clipping)};
      // The bias takes up the shift of all pixels when weights are refined.
      if (site.step == 0 && site.first_or_last && bits.activation == 8 && options.weights != WeightMethod::kNearest &&
          !site.bias().empty())
        plan_pixels(network.pixels(), statistics.linear(id), plan.linears.at(site.name).input);
    }
  });
  return plan;
}

}  // namespace igq
