#include "quant/weight_groups.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>

#include "base/fail.h"

namespace igq {
namespace {

/// The widened bounds of a group, as make_quantizer() widens them.
Bounds group_range(std::span<const float> w) {
  Bounds b;
  for (const float v : w) {
    b.lower = std::min(b.lower, v);
    b.upper = std::max(b.upper, v);
  }
  return b;
}

/// The step over the multiplier that a group needs to be held whole: its share of the channel's scale.
float needed_scale(std::span<const float> w, int bits) {
  const UniformQuantizer q = make_quantizer(group_range(w), bits);
  const Bounds b = group_range(w);
  if (!(b.upper > b.lower)) return 0.0f;
  return q.scale / static_cast<float>(max_multiplier(bits, q.zero_point));
}

double group_error(std::span<const float> w, const float* importance, float step, int zero, int q_max) {
  const float inverse = 1.0f / step, z = static_cast<float>(zero), top = static_cast<float>(q_max);
  float sum = 0.0f;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float code = std::clamp(std::nearbyint(w[i] * inverse) + z, 0.0f, top);
    const float gap = step * (code - z) - w[i];
    sum += (importance == nullptr ? 1.0f : importance[i]) * gap * gap;
  }
  return static_cast<double>(sum);
}

struct Found {
  int multiplier = 1, zero = 0;
  double error = std::numeric_limits<double>::infinity();
};

/// Steps from about half of what holds the group to all of it, the zero-point so that both ends are clipped alike.
Found search_group(std::span<const float> w, const float* importance, int bits, float scale) {
  const int q_max = code_max(bits);
  const Bounds range = group_range(w);
  const float middle = (range.lower + range.upper) * 0.5f;
  const float whole =
      (range.upper - range.lower) / (static_cast<float>(q_max) * scale);  // the multiplier that holds it
  const int largest = max_multiplier(bits, (q_max + 1) / 2);
  const int first = std::clamp(static_cast<int>(whole * 0.55f), 1, largest);
  const int last = std::clamp(static_cast<int>(std::ceil(whole)) + 1, first, largest);
  Found best;
  for (int m = first; m <= last; ++m) {
    const float step = scale * static_cast<float>(m);
    const auto centred = static_cast<int>(
        std::clamp(std::nearbyint(static_cast<float>(q_max) * 0.5f - middle / step), 0.0f, static_cast<float>(q_max)));
    for (const int zero : {centred, centred - 1, centred + 1}) {
      if (zero < 0 || zero > q_max || m > max_multiplier(bits, zero)) continue;
      const double error = group_error(w, importance, step, zero, q_max);
      if (error < best.error) best = {m, zero, error};
    }
  }
  // A one-sided group that needs a zero-point at an end has few multipliers: the middle always has one.
  if (!std::isfinite(best.error))
    best = {std::min(last, largest), (q_max + 1) / 2,
            group_error(w, importance, scale * static_cast<float>(std::min(last, largest)), (q_max + 1) / 2, q_max)};
  return best;
}

/// search_weight_groups() with the error of what it finds.
ChannelGroups search_channel(std::span<const float> w, std::span<const float> importance, int bits, int group_size,
                             float clipping, double& error) {
  const auto size = static_cast<std::size_t>(group_size);
  ChannelGroups result;
  float scale = 0.0f;
  for (std::size_t k = 0; k < w.size(); k += size)
    scale = std::max(scale, needed_scale(w.subspan(k, std::min(size, w.size() - k)), bits));
  scale *= clipping;
  if (!(scale > 0.0f) || !std::isfinite(1.0f / scale)) scale = 1.0f;  // all zero
  result.scale = scale;
  error = 0.0;
  for (std::size_t k = 0; k < w.size(); k += size) {
    const std::size_t n = std::min(size, w.size() - k);
    const Found found =
        search_group(w.subspan(k, n), importance.empty() ? nullptr : importance.data() + k, bits, scale);
    error += found.error;
    result.multiplier.push_back(static_cast<std::uint8_t>(found.multiplier));
    result.zero.push_back(static_cast<std::uint8_t>(found.zero));
  }
  return result;
}

std::size_t outputs(const WeightPlan& plan) { return plan.scale.size(); }

}  // namespace

ChannelGroups search_weight_groups(std::span<const float> w, std::span<const float> importance, int bits,
                                   int group_size, float clipping) {
  assert(bits >= 2 && bits <= kMaxGroupedBits && group_size > 0 &&
         (importance.empty() || importance.size() == w.size()));
  double error = 0.0;
  return search_channel(w, importance, bits, group_size, clipping, error);
}

ChannelGroups shared_weight_groups(std::span<const float> w, int bits, int group_size, float clipping) {
  const Bounds range = group_range(w);
  const UniformQuantizer q = make_quantizer({range.lower * clipping, range.upper * clipping}, bits);
  const auto groups = static_cast<std::size_t>(weight_group_count(static_cast<int>(w.size()), group_size));
  return {q.scale, std::vector<std::uint8_t>(groups, 1),
          std::vector<std::uint8_t>(groups, static_cast<std::uint8_t>(q.zero_point))};
}

WeightPlan make_grouped_plan(int in, int out, int bits, int group_size) {
  WeightPlan plan;
  const auto n = static_cast<std::size_t>(out);
  plan.bits = bits;
  plan.group_size = group_size;
  plan.scale.assign(n, 1.0f);
  plan.zero_point.assign(n, 1 << (plan.code_bits() - 1));
  plan.codes.resize_zero(n * static_cast<std::size_t>(in));
  const std::size_t groups = static_cast<std::size_t>(weight_group_count(in, group_size)) * n;
  plan.multiplier.assign(groups, 1);
  plan.group_zero.assign(groups, 0);
  return plan;
}

void set_channel_groups(WeightPlan& plan, int o, const ChannelGroups& groups) {
  const auto n = static_cast<std::size_t>(o);
  plan.scale[n] = groups.scale;
  for (std::size_t g = 0; g < groups.multiplier.size(); ++g) {
    plan.multiplier[g * outputs(plan) + n] = groups.multiplier[g];
    plan.group_zero[g * outputs(plan) + n] = groups.zero[g];
  }
}

WeightPlan quantize_grouped_weights(std::span<const float> weight, int in, int out, int bits, int group_size,
                                    std::span<const float> clipping) {
  assert(!clipping.empty());
  WeightPlan plan = make_grouped_plan(in, out, bits, group_size);
  const auto width = static_cast<std::size_t>(in), n = static_cast<std::size_t>(out);
  const auto q_max = static_cast<float>(code_max(bits));
  for (int o = 0; o < out; ++o) {
    const std::span<const float> w = weight.subspan(static_cast<std::size_t>(o) * width, width);
    ChannelGroups best;
    double least = std::numeric_limits<double>::infinity();
    for (const float factor : clipping) {
      double error = 0.0;
      ChannelGroups found = search_channel(w, {}, bits, group_size, factor, error);
      if (error < least) {
        least = error;
        best = std::move(found);
      }
    }
    set_channel_groups(plan, o, best);
    for (std::size_t k = 0; k < width; ++k) {
      const std::size_t g = k / static_cast<std::size_t>(group_size);
      const int m = best.multiplier[g], z = best.zero[g];
      const float inverse = 1.0f / (best.scale * static_cast<float>(m));
      const auto code =
          static_cast<int>(std::clamp(std::nearbyint(w[k] * inverse) + static_cast<float>(z), 0.0f, q_max));
      plan.codes[k * n + static_cast<std::size_t>(o)] = static_cast<std::int8_t>(m * (code - z));
    }
  }
  return plan;
}

AlignedBuffer<std::int8_t> group_codes(const WeightPlan& plan) {
  check_weight_groups(plan);
  const std::size_t out = outputs(plan), in = plan.codes.size() / out;
  const int half = 1 << (plan.bits - 1);
  AlignedBuffer<std::int8_t> codes(plan.codes.size());
  for (std::size_t k = 0; k < in; ++k) {
    const std::size_t first = k / static_cast<std::size_t>(plan.group_size) * out;
    for (std::size_t n = 0; n < out; ++n) {
      const int m = plan.multiplier[first + n], expanded = plan.codes[k * out + n],
                code = expanded / m + plan.group_zero[first + n];
      if (expanded % m != 0 || code < 0 || code > code_max(plan.bits))
        fail("weight {} is not a code of {} bits times its group's multiplier {}", expanded, plan.bits, m);
      codes[k * out + n] = static_cast<std::int8_t>(code - half);
    }
  }
  return codes;
}

void expand_group_codes(WeightPlan& plan, std::span<const std::int8_t> codes) {
  const std::size_t out = outputs(plan), in = codes.size() / out;
  plan.codes.resize(codes.size());
  check_weight_groups(plan);
  const int half = 1 << (plan.bits - 1);
  for (std::size_t k = 0; k < in; ++k) {
    const std::size_t first = k / static_cast<std::size_t>(plan.group_size) * out;
    for (std::size_t n = 0; n < out; ++n)
      plan.codes[k * out + n] = static_cast<std::int8_t>(plan.multiplier[first + n] *
                                                         (codes[k * out + n] + half - plan.group_zero[first + n]));
  }
}

void check_weight_groups(const WeightPlan& plan) {
  const std::size_t out = outputs(plan);
  if (plan.group_size == 0) {
    if (!plan.multiplier.empty() || !plan.group_zero.empty()) fail("multipliers without weight groups");
    return;
  }
  if (plan.bits < 2 || plan.bits > kMaxGroupedBits)
    fail("weight groups of {} bits, 2 to {} are possible", plan.bits, kMaxGroupedBits);
  if (plan.group_size < 0 || out == 0 || plan.codes.empty() || plan.codes.size() % out != 0)
    fail("weight groups of {} inputs do not fit the codes", plan.group_size);
  const auto in = static_cast<int>(plan.codes.size() / out);
  const std::size_t groups = static_cast<std::size_t>(weight_group_count(in, plan.group_size)) * out;
  if (plan.multiplier.size() != groups || plan.group_zero.size() != groups)
    fail("{} multipliers and {} zero-points of weight groups instead of {}", plan.multiplier.size(),
         plan.group_zero.size(), groups);
  for (std::size_t i = 0; i < groups; ++i) {
    const int m = plan.multiplier[i], z = plan.group_zero[i];
    if (z > code_max(plan.bits)) fail("zero-point {} of a weight group is not a code of {} bits", z, plan.bits);
    if (m < 1 || m > max_multiplier(plan.bits, z))
      fail("multiplier {} of a weight group, its zero-point allows 1 to {}", m, max_multiplier(plan.bits, z));
  }
}

}  // namespace igq
