#include "calibration/slot_ratios.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace igq {
namespace {

constexpr std::size_t kMostWidths = 32768;  // that are looked at
constexpr int kStepsPerOctave = 16;         // of units that are tried
constexpr double kShare = 0.85;             // of the budget that the mean image may need

/// A multiple that groups may have, and widths that need it.
struct Candidate {
  std::int32_t multiple = 0;
  double count = 0.0;
};

/// The `groups` candidates with the least sum of squares when every width takes the next one up: dynamic programming,
/// exact.
std::vector<Candidate> least_squares(const std::vector<Candidate>& all, int groups) {
  const std::size_t n = all.size(), g_max = static_cast<std::size_t>(groups);
  if (n <= g_max) return all;
  std::vector<double> before(n + 1, 0.0);  // count of the first ones
  for (std::size_t i = 0; i < n; ++i) before[i + 1] = before[i] + all[i].count;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> least(g_max + 1, std::vector<double>(n + 1, kInfinity));
  std::vector<std::vector<std::size_t>> from(g_max + 1, std::vector<std::size_t>(n + 1, 0));
  least[0][0] = 0.0;
  for (std::size_t g = 1; g <= g_max; ++g)
    for (std::size_t end = 1; end <= n; ++end)
      for (std::size_t begin = 0; begin < end; ++begin) {
        const double m = all[end - 1].multiple, error = least[g - 1][begin] + (before[end] - before[begin]) * m * m;
        if (error < least[g][end]) {
          least[g][end] = error;
          from[g][end] = begin;
        }
      }
  std::vector<Candidate> chosen;
  for (std::size_t g = g_max, end = n; end > 0; --g) {
    const std::size_t begin = from[g][end];
    chosen.push_back({all[end - 1].multiple, before[end] - before[begin]});
    end = begin;
  }
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}

/// The smallest float not below `unit`, so that rounding it clips nothing; 1 where nothing has a width.
float unit_of(double unit) {
  float result = static_cast<float>(unit);
  if (static_cast<double>(result) < unit) result = std::nextafter(result, std::numeric_limits<float>::infinity());
  return std::isnormal(result) && std::isfinite(1.0f / result) ? result : 1.0f;
}

}  // namespace

bool ratios_fit_byte(int bits) { return slot_multiple(bits) >= 8; }

int extra_slot_budget(int channels) {
  return (channels + channels / 16 + kSlotStep - 1) / kSlotStep * kSlotStep - channels;
}

std::int32_t spare_multiple(std::int32_t last, int bits, int channels) {
  const std::int32_t slot = slot_multiple(bits), wanted = (last + last / 2 + slot) / slot * slot,
                     most = std::min({slot * kMaxSlots, kMaxMultiple / slot * slot, kMostSlots / channels * slot});
  return std::max(last, std::min(wanted, most));
}

IntegerRatios slot_ratios(const std::vector<float>& widths, int groups, int bits, int channels) {
  const std::int32_t slot = slot_multiple(bits);
  const bool all = ratios_fit_byte(bits);
  IntegerRatios result;
  for (std::int32_t m = 1; m <= (all ? slot : 1); ++m) result.multiples.push_back(m);
  const std::size_t stride = std::max<std::size_t>(1, (widths.size() + kMostWidths - 1) / kMostWidths);
  std::vector<double> some;
  for (std::size_t i = 0; i < widths.size(); i += stride) some.push_back(static_cast<double>(widths[i]));
  const double widest = widths.empty() ? 0.0 : static_cast<double>(*std::max_element(widths.begin(), widths.end()));
  if (!(widest > 0.0)) return result;
  some.push_back(widest);
  const std::int32_t most = std::min(slot * kMaxSlots, kMaxMultiple / slot * slot);
  const double slots_each = kShare * extra_slot_budget(channels) / channels * static_cast<double>(some.size());
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0;; ++i) {
    const double unit = widest / most * std::exp2(static_cast<double>(i) / kStepsPerOctave);  // as a width
    if (unit > widest * 1.0001) break;
    std::vector<double> counts(static_cast<std::size_t>(most) + 1, 0.0);
    for (const double width : some) {
      auto m = std::clamp(static_cast<std::int32_t>(std::ceil(width / unit * (1.0 - 1e-6))), 1, most);
      if (m > slot) m = (m + slot - 1) / slot * slot;
      counts[static_cast<std::size_t>(m)] += 1.0;
    }
    std::vector<Candidate> candidates;
    for (std::int32_t m = 1; m <= most; ++m)
      if (const double count = counts[static_cast<std::size_t>(m)]; count > 0.0) candidates.push_back({m, count});
    const std::vector<Candidate> chosen = all ? candidates : least_squares(candidates, std::max(groups, 1));
    double error = 0.0, extra = 0.0;
    for (const Candidate& c : chosen) {
      error += c.count * c.multiple * c.multiple * unit * unit;
      const std::int32_t extra_slots = (c.multiple + slot - 1) / slot - 1;
      extra += c.count * extra_slots;
    }
    if (extra > slots_each || !(error < least)) continue;
    least = error;
    result.multiples.clear();
    for (std::int32_t m = 1; all && m <= slot; ++m) result.multiples.push_back(m);
    for (const Candidate& c : chosen)
      if (result.multiples.empty() || c.multiple > result.multiples.back()) result.multiples.push_back(c.multiple);
    result.unit = unit_of(unit / code_max(bits));
  }
  return result;
}

}  // namespace igq
