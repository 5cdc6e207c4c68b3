// Recomputes which group each channel or softmax row of an example is in, as the model does it when it runs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "quant/grouping.h"
#include "report/report_data.h"

namespace igq::report {
namespace {

double width(const Bounds& b) { return static_cast<double>(b.upper) - static_cast<double>(b.lower); }

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// rank[g] of the plan's groups by the width of their bounds, the lower index first of equals.
std::vector<int> ranks(const ActivationPlan& plan) {
  std::vector<std::size_t> order(plan.groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return width(plan.groups[a]) < width(plan.groups[b]); });
  std::vector<int> rank(order.size());
  for (std::size_t r = 0; r < order.size(); ++r) rank[order[r]] = static_cast<int>(r);
  return rank;
}

}  // namespace

GroupedExample group_example(const RangeExample& ranges, const ActivationPlan& plan) {
  GroupedExample example;
  example.site = ranges.site;
  example.head = ranges.head;
  example.members = ranges.members;
  example.stride = ranges.stride;
  example.bits = plan.bits;
  example.grouping = plan.grouping;
  example.groups = plan.grouping == Grouping::kUpperBound ? 0 : static_cast<int>(plan.groups.size());
  const std::vector<int> rank = ranks(plan);
  const auto q_max = static_cast<float>(code_max(plan.bits));
  for (const auto& image : ranges.images) {
    const auto n = static_cast<int>(image.size());
    auto& members = example.images.emplace_back();
    for (const Bounds& b : image) members.push_back({b, {}, 0});
    if (ranges.head < 0) {
      Arena arena;
      std::vector<float> mn, mx;
      for (const Bounds& b : image) {
        mn.push_back(b.lower);
        mx.push_back(b.upper);
      }
      const ChannelQuantizers q =
          assign_channels(plan, kernels::kernels_for(best_isa()), n, mn.data(), mx.data(), arena);
      for (std::size_t c = 0; c < image.size(); ++c) {
        members[c].codes = {-q.zero[c] * q.scale[c], (q_max - q.zero[c]) * q.scale[c]};
        if (example.groups > 0) members[c].group = rank[static_cast<std::size_t>(q.group[c])];
      }
      continue;
    }
    std::vector<float> largest, scale(image.size()), inv_scale(image.size());
    for (const Bounds& b : image) largest.push_back(b.upper);
    assign_rows(plan, n, largest.data(), scale.data(), inv_scale.data());
    for (std::size_t r = 0; r < image.size(); ++r) {
      members[r].codes = {0.0f, q_max * scale[r]};
      // A row's quantizer is its group's: the scale says which.
      for (std::size_t g = 0; g < rank.size(); ++g)
        if (make_quantizer({0.0f, plan.groups[g].upper}, plan.bits).scale == scale[r]) {
          members[r].group = rank[g];
          break;
        }
    }
  }
  return example;
}

GroupingGain grouping_gain(const GroupedExample& example, std::size_t image) {
  const auto& members = example.images[image];
  Bounds all;
  for (const auto& other : example.images)
    for (const Member& m : other) {
      all.lower = std::min(all.lower, m.range.lower);
      all.upper = std::max(all.upper, m.range.upper);
    }
  const double steps = code_max(example.bits), single = width(all) / steps;
  std::vector<double> before, after;
  std::int64_t clipped = 0;
  for (const Member& m : members) {
    const double step = width(m.codes) / steps;
    const Bounds inside{std::max(m.range.lower, m.codes.lower), std::min(m.range.upper, m.codes.upper)};
    before.push_back(single > 0.0 ? width(m.range) / single : 0.0);
    after.push_back(step > 0.0 ? std::max(width(inside), 0.0) / step : 0.0);
    clipped += width(m.range) - std::max(width(inside), 0.0) > step;
  }
  const double percent =
      members.empty() ? 0.0 : 100.0 * static_cast<double>(clipped) / static_cast<double>(members.size());
  return {median(std::move(before)), median(std::move(after)), percent};
}

double moved_percent(const GroupedExample& example, std::size_t a, std::size_t b) {
  const auto &first = example.images[a], &second = example.images[b];
  std::size_t moved = 0;
  for (std::size_t i = 0; i < first.size(); ++i) moved += first[i].group != second[i].group;
  return first.empty() ? 0.0 : 100.0 * static_cast<double>(moved) / static_cast<double>(first.size());
}

}  // namespace igq::report
