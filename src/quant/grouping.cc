#include "quant/grouping.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <type_traits>

#include "kernels/table.h"

namespace igq {
namespace {

void set_channel(ChannelQuantizers& q, int c, int group, const UniformQuantizer& u) {
  q.scale[c] = u.scale;
  q.inv_scale[c] = u.inv_scale;
  q.zero[c] = static_cast<float>(u.zero_point);
  q.group[c] = group;
}

/// Points whose groups are found together: few enough for the stack, many enough for vectors.
constexpr int kChunk = 64;

/// group[i] = the nearest pair of bounds to point i in the (min, max) plane (docs/method.md, section 3, Eq. 4), the
/// lowest of equals; at most kChunk points. Group by group and without branches, so that compilers make vectors of
/// points.
void nearest_bounds(const std::vector<Bounds>& groups, const float* mn, const float* mx, int count,
                    std::int32_t* group) {
  float best[kChunk];
  const auto distance = [&](const Bounds& bounds, int i) {
    const float du = mx[i] - bounds.upper, dl = mn[i] - bounds.lower;
    return du * du + dl * dl;
  };
  for (int i = 0; i < count; ++i) {
    best[i] = distance(groups[0], i);
    group[i] = 0;
  }
  for (int g = 1; g < static_cast<int>(groups.size()); ++g) {
    const Bounds bounds = groups[static_cast<std::size_t>(g)];
    for (int i = 0; i < count; ++i) {
      const float d = distance(bounds, i);
      const std::int32_t nearer = -static_cast<std::int32_t>(d < best[i]);  // all bits or none
      group[i] = (g & nearer) | (group[i] & ~nearer);
      best[i] = std::bit_cast<float>((std::bit_cast<std::int32_t>(d) & nearer) |
                                     (std::bit_cast<std::int32_t>(best[i]) & ~nearer));
    }
  }
}

/// group[i] = the smallest group scale whose codes hold a range of this width; the largest one when none does.
/// Likewise.
void scale_groups(const std::vector<Bounds>& groups, const float* mn, const float* mx, int count, std::int32_t* group) {
  std::fill_n(group, count, 0);
  for (std::size_t g = 0; g + 1 < groups.size(); ++g) {
    const float upper = groups[g].upper;
    for (int i = 0; i < count; ++i) group[i] += static_cast<std::int32_t>(!(mx[i] - mn[i] <= upper));  // bounds ascend
  }
}

}  // namespace

int group_count(const ActivationPlan& plan, int channels) {
  if (plan.grouping == Grouping::kUpperBound) return channels;
  return std::max<int>(1, static_cast<int>(plan.groups.size()));
}

bool has_unit(const ActivationPlan& plan) { return !plan.multiples.empty() || plan.from_image; }

ZeroPointLimits zero_point_limits(const ActivationPlan& plan, int channels) {
  if (!plan.unclipped) return {};
  constexpr std::int64_t kSums = 0x7FFFFFFF / 128;  // of codes less zero-points, times weights of 8 bits
  const std::int64_t in_int32 = kSums / channels - 2 * code_max(8);
  const auto limit = static_cast<float>(
      fits_slots(plan, channels) ? kZeroPointLimit : std::clamp<std::int64_t>(in_int32, 512, kZeroPointLimit));
  // Half the codes are on either side of the middle, and as many are left for ranges stretched by a rounding.
  const auto q_max = static_cast<float>(code_max(plan.bits));
  return {-limit - q_max, limit + q_max, 0.5f * q_max / limit};
}

bool fits_slots(const ActivationPlan& plan, int channels) {
  if (plan.multiples.empty()) return false;
  const std::int32_t slot = slot_multiple(plan.bits), copies = (plan.multiples.back() + slot - 1) / slot;
  return copies <= kMaxSlots && std::int64_t{channels} * copies <= kMostSlots &&
         std::all_of(plan.multiples.begin(), plan.multiples.end(),
                     [&](std::int32_t m) { return m <= slot || m % slot == 0; });
}

bool needs_channel_ranges(const ActivationPlan& plan) {
  return plan.grouping == Grouping::kIgq || plan.grouping == Grouping::kScale ||
         plan.grouping == Grouping::kUpperBound || plan.from_image;
}

ChannelQuantizers take_quantizers(const ActivationPlan& plan, int channels, Arena& arena, int taps) {
  assert(plan.grouping != Grouping::kFloat);
  ChannelQuantizers q;
  q.channels = channels;
  q.taps = taps;
  q.groups = group_count(plan, channels);
  q.q_max = code_max(plan.bits);
  const auto n = static_cast<std::size_t>(channels);
  const auto g = static_cast<std::size_t>(q.groups);
  q.scale = arena.take<float>(n);
  q.inv_scale = arena.take<float>(n);
  q.zero = arena.take<float>(n);
  q.group = arena.take<std::int32_t>(n);
  q.group_scale = arena.take<float>(g);
  q.image_scale = arena.take<float>(1);
  *q.image_scale = 1.0f;
  if (plan.grouping == Grouping::kUpperBound) return q;
  if (plan.from_image) {
    static constexpr std::int32_t kOne = 1;
    q.multiples = &kOne;
    q.multiple = arena.take<float>(n);
    q.copies = arena.take<std::int32_t>(n);
    std::fill_n(q.multiple, n, 1.0f);
    std::fill_n(q.copies, n, 1);
    return q;
  }
  if (plan.multiples.empty() || plan.grouping != Grouping::kScale) {
    q.fixed = arena.take<UniformQuantizer>(g);
    for (std::size_t i = 0; i < g; ++i) {
      q.fixed[i] = make_quantizer(plan.groups[i], plan.bits);
      q.group_scale[i] = q.fixed[i].scale;
    }
  }
  if (!plan.multiples.empty()) {
    for (std::size_t i = 0; i < g; ++i) q.group_scale[i] = static_cast<float>(plan.multiples[i]) * plan.unit;
    q.multiples = plan.multiples.data();
    q.multiple = arena.take<float>(n);
    q.copies = arena.take<std::int32_t>(n);
    q.group_multiple = arena.take<float>(g);
    q.group_copies = arena.take<float>(g);
    const std::int32_t slot = fits_slots(plan, channels * taps) ? slot_multiple(plan.bits) : kMaxMultiple;
    for (std::size_t i = 0; i < g; ++i) {
      const std::int32_t each = std::min(plan.multiples[i], slot);
      q.group_multiple[i] = static_cast<float>(each);
      q.group_copies[i] = static_cast<float>(plan.multiples[i] / each);
    }
  }
  if (plan.grouping == Grouping::kScale) {
    q.group_inverse = arena.take<float>(g);
    q.group_widest = arena.take<float>(g);
    for (std::size_t i = 0; i < g; ++i) {
      q.group_inverse[i] = 1.0f / q.group_scale[i];
      q.group_widest[i] = plan.groups[i].upper;  // kScale has widths in the place of bounds
    }
  }
  return q;
}

ChannelQuantizers repeat_taps(const ChannelQuantizers& q, Arena& arena) {
  if (q.taps == 1) return q;
  ChannelQuantizers all = q;
  all.channels = q.channels * q.taps;
  all.taps = 1;
  const auto repeated = [&](auto* values) {
    using Value = std::remove_reference_t<decltype(*values)>;
    if (values == nullptr) return values;
    auto* out = arena.take<Value>(static_cast<std::size_t>(all.channels));
    for (int tap = 0; tap < q.taps; ++tap) std::copy_n(values, q.channels, out + std::int64_t{tap} * q.channels);
    return out;
  };
  all.scale = repeated(q.scale);
  all.inv_scale = repeated(q.inv_scale);
  all.zero = repeated(q.zero);
  all.group = repeated(q.group);
  all.multiple = repeated(q.multiple);
  all.copies = repeated(q.copies);
  return all;
}

void assign_channels(const ActivationPlan& plan, const kernels::Kernels& kernels, ChannelQuantizers& q, int begin,
                     int end, const float* mn, const float* mx) {
  if (plan.from_image) return;  // fit_image()
  if (plan.grouping == Grouping::kIgq)
    for (int c = begin; c < end; c += kChunk)
      nearest_bounds(plan.groups, mn + (c - begin), mx + (c - begin), std::min(kChunk, end - c), q.group + c);
  if (plan.grouping == Grouping::kScale) {
    const ZeroPointLimits limits = zero_point_limits(plan, q.channels * q.taps);
    const kernels::ScaleGroups groups{q.groups,         q.group_widest,     q.group_scale, q.group_inverse,
                                      q.group_multiple, q.group_copies,     q.q_max,       limits.min,
                                      limits.max,       limits.offset_width};
    const auto from = [&](auto* values) { return values == nullptr ? nullptr : values + begin; };
    kernels.scale_quantizers(
        groups, mn, mx, end - begin,
        {q.scale + begin, q.inv_scale + begin, q.zero + begin, q.group + begin, from(q.multiple), from(q.copies)});
    return;
  }
  for (int c = begin; c < end; ++c) {
    switch (plan.grouping) {
      case Grouping::kUpperBound:
        set_channel(q, c, c, make_quantizer({mn[c - begin], mx[c - begin]}, plan.bits));
        q.group_scale[c] = q.scale[c];
        break;
      case Grouping::kStaticGroup: {
        const int group = static_cast<int>(static_cast<std::int64_t>(c) * q.groups / q.channels);
        set_channel(q, c, group, q.fixed[group]);
        break;
      }
      case Grouping::kIgq:
        set_channel(q, c, q.group[c], q.fixed[q.group[c]]);
        break;
      case Grouping::kLayer:
      case Grouping::kScale:  // returned above
      case Grouping::kFloat:
        set_channel(q, c, 0, q.fixed[0]);
        break;
    }
  }
}

ChannelQuantizers assign_channels(const ActivationPlan& plan, const kernels::Kernels& kernels, int channels,
                                  const float* mn, const float* mx, Arena& arena) {
  ChannelQuantizers q = take_quantizers(plan, channels, arena);
  assign_channels(plan, kernels, q, 0, channels, mn, mx);
  fit_image(plan, kernels, q, mn, mx);
  return q;
}

/// The widest range of an image's channels, their distance from zero counted in (ZeroPointLimits). NaN is left out.
static float widest_range(const float* mn, const float* mx, int channels, float offset_width) {
  float widest = 0.0f;
  for (int c = 0; c < channels; ++c) {  // no branches: vectors
    const float width = mx[c] - mn[c], offset = offset_width * std::abs(mn[c] + mx[c]);
    widest = width > widest ? width : widest;
    widest = offset > widest ? offset : widest;
  }
  return widest;
}

bool fit_image(const ActivationPlan& plan, const kernels::Kernels& kernels, ChannelQuantizers& q, const float* mn,
               const float* mx) {
  if (plan.from_image) {
    Bounds range;
    for (int c = 0; c < q.channels; ++c) {  // NaN is left out
      range.lower = mn[c] < range.lower ? mn[c] : range.lower;
      range.upper = mx[c] > range.upper ? mx[c] : range.upper;
    }
    const UniformQuantizer u = make_quantizer(range, plan.bits);
    for (int c = 0; c < q.channels; ++c) set_channel(q, c, 0, u);
    q.group_scale[0] = *q.image_scale = u.scale;
    return true;
  }
  if (plan.grouping != Grouping::kScale || !plan.unclipped) return false;
  constexpr float kRounding = 1.0001f;  // of ranges that are as wide as the widest group: a hundredth of a step
  const auto last = static_cast<std::size_t>(q.groups) - 1;
  const float widest = widest_range(mn, mx, q.channels, zero_point_limits(plan, q.channels * q.taps).offset_width),
              held = q.group_scale[last] * static_cast<float>(q.q_max), stretch = widest / held;
  if (!(stretch > kRounding) || !std::isfinite(q.group_scale[last] * stretch)) return false;
  *q.image_scale = stretch;
  for (std::size_t g = 0; g <= last; ++g) {
    q.group_scale[g] *= stretch;
    q.group_inverse[g] = 1.0f / q.group_scale[g];
    q.group_widest[g] *= stretch;
  }
  assign_channels(plan, kernels, q, 0, q.channels, mn, mx);
  return true;
}

void order_slots(ChannelQuantizers& q, int align, Arena& arena) {
  if (q.groups == 1) align = kernels::kGroupAlign;
  const auto g = static_cast<std::size_t>(q.groups);
  q.group_end = arena.take<std::int32_t>(g);
  auto* next = arena.take<std::int32_t>(g);
  std::fill_n(next, g, 0);
  for (int c = 0; c < q.channels; ++c) ++next[q.group[c]];
  int slot = 0;
  for (std::size_t i = 0; i < g; ++i) {
    const int padded = (next[i] + align - 1) / align * align;
    next[i] = slot;
    slot += padded;
    q.group_end[i] = slot;
  }
  q.slots = slot;
  q.order = arena.take<std::int32_t>(static_cast<std::size_t>(slot));
  q.slot_zero = arena.take<std::int16_t>(static_cast<std::size_t>(slot));
  std::fill_n(q.order, slot, -1);
  std::fill_n(q.slot_zero, slot, static_cast<std::int16_t>(0));
  for (int c = 0; c < q.channels; ++c) {
    const int at = next[q.group[c]]++;
    q.order[at] = c;
    q.slot_zero[at] = static_cast<std::int16_t>(q.zero[c]);
  }
}

void assign_rows(const ActivationPlan& plan, int begin, int end, int rows, const float* row_max, float* scale,
                 float* inv_scale) {
  assert(plan.grouping != Grouping::kFloat);
  const int groups = static_cast<int>(plan.groups.size());
  static constexpr float kZeros[kChunk] = {};
  if (plan.grouping == Grouping::kUpperBound) {
    for (int i = 0; i < end - begin; ++i) {
      const UniformQuantizer q = make_quantizer({0.0f, row_max[i]}, plan.bits);
      scale[i] = q.scale;
      inv_scale[i] = q.inv_scale;
    }
    return;
  }
  const auto quantizer_of = [&](int g) {
    return make_quantizer({0.0f, plan.groups[static_cast<std::size_t>(g)].upper}, plan.bits);
  };
  UniformQuantizer made[kChunk];  // of the first groups, which normally are all
  for (int g = 0; g < std::min(groups, kChunk); ++g) made[g] = quantizer_of(g);
  for (int first = begin; first < end; first += kChunk) {
    const int count = std::min(kChunk, end - first);
    const float* largest = row_max + (first - begin);
    std::int32_t group[kChunk] = {};
    if (plan.grouping == Grouping::kIgq) nearest_bounds(plan.groups, kZeros, largest, count, group);
    if (plan.grouping == Grouping::kScale) scale_groups(plan.groups, kZeros, largest, count, group);
    for (int i = 0; i < count; ++i) {
      if (plan.grouping == Grouping::kStaticGroup)
        group[i] = static_cast<std::int32_t>(std::int64_t{first + i} * groups / rows);
      const UniformQuantizer q = group[i] < kChunk ? made[group[i]] : quantizer_of(group[i]);
      scale[first - begin + i] = q.scale;
      inv_scale[first - begin + i] = q.inv_scale;
    }
  }
}

void assign_rows(const ActivationPlan& plan, int rows, const float* row_max, float* scale, float* inv_scale) {
  assign_rows(plan, 0, rows, rows, row_max, scale, inv_scale);
}

}  // namespace igq
