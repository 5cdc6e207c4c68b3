#include "report/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report/html.h"
#include "report/svg.h"

namespace igq::report {
namespace {

constexpr double kWidth = 352.0;  // a phone's column, so that text keeps its size there

int block_count(const ReportData& data) {
  int blocks = 0;
  for (const SiteRow& s : data.sites) blocks = std::max(blocks, s.block + 1);
  return blocks;
}

/// Block numbers below the axis, as many as fit.
void block_axis(Svg& svg, int blocks, double left, double step, double y) {
  const int every = std::max(1, static_cast<int>(std::ceil(18.0 / step)));
  for (int b = 0; b < blocks; b += every) {
    const bool at_edge = b == blocks - 1 && step < 12.0;  // the last number ends with its block
    svg.text(left + (b + (at_edge ? 1.0 : 0.5)) * step, y, fmt::format("{}", b), "tick",
             at_edge ? Anchor::kEnd : Anchor::kMiddle);
  }
}

/// The y axis of an example: every range of every image, and zero.
Scale range_scale(const GroupedExample& example, double from, double to) {
  Scale scale{0.0, 0.0, from, to};
  for (const auto& image : example.images)
    for (const Member& m : image) {
      scale.low = std::min(scale.low, static_cast<double>(m.range.lower));
      scale.high = std::max(scale.high, static_cast<double>(m.range.upper));
    }
  const double margin = 0.04 * (scale.high - scale.low);
  if (scale.low < 0.0) scale.low -= margin;
  scale.high += margin;
  if (!(scale.high > scale.low)) scale.high = scale.low + 1.0;
  return scale;
}

/// A bar from minimum to maximum, not thinner than can be seen.
std::string bar(double x, const Scale& y, const Bounds& range) {
  double top = y(static_cast<double>(range.upper)), bottom = y(static_cast<double>(range.lower));
  if (bottom - top < 0.8) {
    top -= 0.4;
    bottom += 0.4;
  }
  return fmt::format("M{} {}V{}", coordinate(x), coordinate(top), coordinate(bottom));
}

struct RangeFrame {
  static constexpr double kHeight = 216.0, kLeft = 38.0, kRight = kWidth - 4.0, kTop = 22.0, kBottom = 186.0;
};

std::string member_noun(const GroupedExample& example) { return example.head < 0 ? "channels" : "softmax rows"; }

}  // namespace

std::string kind_label(const SiteRow& site) {
  if (site.attention) return "attention";
  const std::size_t dot = site.kind.rfind('.');
  return dot == std::string::npos ? site.kind : site.kind.substr(dot + 1);
}

std::vector<std::string> block_kinds(const ReportData& data) {
  std::vector<std::string> kinds;
  for (const SiteRow& s : data.sites)
    if (s.block >= 0 && std::find(kinds.begin(), kinds.end(), s.kind) == kinds.end()) kinds.push_back(s.kind);
  return kinds;
}

std::vector<std::size_t> by_width(const GroupedExample& example, std::size_t image) {
  const auto& members = example.images[image];
  std::vector<std::size_t> order(members.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto width = [&](std::size_t i) { return members[i].range.upper - members[i].range.lower; };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return width(a) < width(b); });
  return order;
}

std::string allocation_chart(const ReportData& data, const std::string& kind) {
  constexpr double kHeight = 108.0, kLeft = 24.0, kTop = 20.0, kBottom = 88.0, kSmallWidth = 310.0;
  Svg svg(kSmallWidth, kHeight, fmt::format("Number of groups of {} in every block", kind));
  int most = 1;
  for (const SiteRow& s : data.sites)
    if (s.grouping != Grouping::kUpperBound) most = std::max(most, s.groups);
  const Scale y{0.0, static_cast<double>(most), kBottom, kTop};
  const int blocks = block_count(data);
  const double step = (kSmallWidth - kLeft - 2.0) / blocks;
  std::vector<double> ticks = nice_ticks(0.0, static_cast<double>(most), 2);
  for (const double tick : ticks) {
    if (tick != std::floor(tick)) continue;
    svg.line(kLeft, y(tick), kSmallWidth - 2.0, y(tick), tick == 0.0 ? "axis" : "grid");
    svg.text(kLeft - 4, y(tick) + 3.5, number(tick), "tick", Anchor::kEnd);
  }
  int last = -1;
  double free = 0.0;  // where the label before ends
  for (const SiteRow& s : data.sites) {
    if (s.block < 0 || s.kind != kind) continue;
    const double x = kLeft + s.block * step, middle = x + step / 2.0;
    const bool each = s.grouping == Grouping::kUpperBound;
    if (each)
      svg.rect(x + 0.12 * step, kTop, 0.76 * step, kBottom - kTop, "stay",
               fmt::format("{}: one quantizer each", s.name));
    else if (s.groups > 0)
      svg.rect(x + 0.12 * step, y(s.groups), 0.76 * step, kBottom - y(s.groups), "bar",
               fmt::format("{}: {} groups", s.name, s.groups));
    // Every bar says its number where there is room, otherwise those that differ from the one before.
    const int shown = each ? -2 : s.groups;
    const std::string words = each ? "all" : s.groups == 0 ? "-" : fmt::format("{}", s.groups);
    const double half = 2.9 * static_cast<double>(words.size());
    if ((step >= 15.0 || shown != last) && middle - half > free) {
      svg.text(middle, (each ? kTop : y(s.groups)) - 4.0, words, "small", Anchor::kMiddle);
      free = middle + half + 1.0;
    }
    last = shown;
  }
  block_axis(svg, blocks, kLeft, step, kHeight - 6.0);
  return svg.str();
}

std::string noise_chart(const ReportData& data, bool accumulated, double low, double high) {
  constexpr double kHeight = 236.0, kLeft = 30.0, kRight = kWidth - 86.0, kTop = 22.0, kBottom = 196.0;
  Svg svg(kWidth, kHeight,
          accumulated ? "Signal-to-noise ratio of every site with everything quantized"
                      : "Signal-to-noise ratio of every site with only this site quantized");
  const Scale y{low, high, kBottom, kTop};
  svg.y_axis(y, kLeft, kRight, "dB");
  const int blocks = block_count(data);
  const double step = (kRight - kLeft) / blocks;
  block_axis(svg, blocks, kLeft, step, kBottom + 15.0);
  svg.text((kLeft + kRight) / 2.0, kBottom + 31.0, "block", "tick", Anchor::kMiddle);

  struct Curve {
    int shape = 0;
    std::string label;
    std::vector<std::pair<double, double>> points;
  };
  std::vector<Curve> curves;
  const std::vector<std::string> kinds = block_kinds(data);
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    Curve curve{static_cast<int>(k % 6), "", {}};
    for (const SiteRow& s : data.sites) {
      const std::optional<double>& value = accumulated ? s.accumulated : s.alone;
      if (s.block < 0 || s.kind != kinds[k] || !value || *value >= kNoNoise) continue;
      curve.label = kind_label(s);
      curve.points.emplace_back(kLeft + (s.block + 0.5) * step, y(std::clamp(*value, low, high)));
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  for (const Curve& c : curves) svg.polyline(c.points, fmt::format("curve k{}", c.shape));
  for (const Curve& c : curves)
    for (const auto& [px, py] : c.points) svg.marker(px, py, c.shape, fmt::format("dot k{}", c.shape));
  std::stable_sort(curves.begin(), curves.end(),
                   [](const Curve& a, const Curve& b) { return a.points.back().second < b.points.back().second; });
  std::vector<double> wanted;
  for (const Curve& c : curves) wanted.push_back(c.points.back().second + 3.5);
  const std::vector<double> places = spread_labels(wanted, 13.0, kTop, kBottom + 4.0);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const auto [px, py] = curves[i].points.back();
    svg.line(px + 5.0, py, kRight + 7.0, places[i] - 3.5, "grid");
    svg.marker(kRight + 11.0, places[i] - 3.5, curves[i].shape, fmt::format("dot k{}", curves[i].shape));
    svg.text(kRight + 18.0, places[i], curves[i].label, fmt::format("series k{}", curves[i].shape));
  }
  return svg.str();
}

std::string ungrouped_chart(const GroupedExample& example, std::size_t image, const std::vector<std::size_t>& order) {
  using F = RangeFrame;
  Svg svg(kWidth, F::kHeight,
          fmt::format("Ranges of the {} of {} on {}, one quantizer for all", member_noun(example), example.site,
                      example.image_names[image]));
  const Scale y = range_scale(example, F::kBottom, F::kTop);
  Bounds all;
  for (const auto& other : example.images)
    for (const Member& m : other) {
      all.lower = std::min(all.lower, m.range.lower);
      all.upper = std::max(all.upper, m.range.upper);
    }
  // The levels of one quantizer, as long as single ones can be seen.
  if (example.bits <= 5)
    for (int code = 0; code <= code_max(example.bits); ++code) {
      const double level =
          static_cast<double>(all.lower) +
          (static_cast<double>(all.upper) - static_cast<double>(all.lower)) * code / code_max(example.bits);
      svg.line(F::kLeft, y(level), F::kRight, y(level), "level");
    }
  for (const double tick : nice_ticks(y.low, y.high, 4)) {
    if (tick == 0.0) svg.line(F::kLeft, y(tick), F::kRight, y(tick), "axis");
    svg.text(F::kLeft - 5, y(tick) + 3.5, tick_label(tick), "tick", Anchor::kEnd);
  }
  svg.text(2, F::kTop - 9, example.head < 0 ? "value" : "probability", "unit");
  const double pitch = (F::kRight - F::kLeft) / static_cast<double>(order.size());
  std::string d;
  for (std::size_t i = 0; i < order.size(); ++i)
    d += bar(F::kLeft + (static_cast<double>(i) + 0.5) * pitch, y, example.images[image][order[i]].range);
  svg.path(d, "neutral", 0.72 * pitch);
  svg.line(F::kLeft, y(static_cast<double>(all.upper)), F::kRight, y(static_cast<double>(all.upper)), "edge");
  svg.line(F::kLeft, y(static_cast<double>(all.lower)), F::kRight, y(static_cast<double>(all.lower)), "edge");
  svg.text((F::kLeft + F::kRight) / 2.0, F::kBottom + 16.0,
           image == 0 ? fmt::format("{} {}, narrowest first", order.size(), member_noun(example))
                      : fmt::format("the same {} in the same order", member_noun(example)),
           "tick", Anchor::kMiddle);
  return svg.str();
}

std::string grouped_chart(const GroupedExample& example, std::size_t image) {
  using F = RangeFrame;
  const auto& members = example.images[image];
  const int groups = std::max(example.groups, 1);
  Svg svg(kWidth, F::kHeight,
          fmt::format("The {} of {} on {} in their {} groups", member_noun(example), example.site,
                      example.image_names[image], groups));
  const Scale y = range_scale(example, F::kBottom, F::kTop);
  svg.y_axis(y, F::kLeft, F::kRight, example.head < 0 ? "value" : "probability");
  std::vector<std::size_t> order = by_width(example, image);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return members[a].group < members[b].group; });
  const double gap = groups > 16 ? 1.5 : 3.0;
  const double pitch =
      (F::kRight - F::kLeft - gap * (groups - 1)) / static_cast<double>(std::max<std::size_t>(order.size(), 1));
  double x = F::kLeft;
  for (std::size_t begin = 0; begin < order.size();) {
    const int group = members[order[begin]].group;
    std::size_t end = begin;
    while (end < order.size() && members[order[end]].group == group) ++end;
    const double width = pitch * static_cast<double>(end - begin);
    const std::string color = ramp_class(group, groups);
    std::string bands, bars;
    for (std::size_t i = begin; i < end;) {  // neighbours of equal code bounds share a band
      std::size_t next = i;
      const Bounds& codes = members[order[i]].codes;
      while (next < end && members[order[next]].codes == codes) ++next;
      const double top = std::clamp(y(static_cast<double>(codes.upper)), F::kTop, F::kBottom);
      const double bottom = std::clamp(y(static_cast<double>(codes.lower)), F::kTop, F::kBottom);
      const double left = x + pitch * static_cast<double>(i - begin),
                   right = x + pitch * static_cast<double>(next - begin);
      bands += fmt::format("M{} {}H{}V{}H{}Z", coordinate(left), coordinate(top), coordinate(right), coordinate(bottom),
                           coordinate(left));
      i = next;
    }
    for (std::size_t i = begin; i < end; ++i)
      bars += bar(x + pitch * (static_cast<double>(i - begin) + 0.5), y, members[order[i]].range);
    const std::string tooltip = example.groups == 0
                                    ? std::string("one quantizer each")
                                    : fmt::format("group {}: {} {}", group + 1, end - begin, member_noun(example));
    svg.path(bands, "band " + color, 0.0, tooltip);
    svg.path(bars, "bars " + color, 0.72 * pitch, tooltip);
    if (example.groups > 0 && width >= (group < 9 ? 7.0 : 12.0))
      svg.text(x + width / 2.0, F::kBottom + 12.0, fmt::format("{}", group + 1), "small", Anchor::kMiddle);
    x += width + gap;
    begin = end;
  }
  svg.text((F::kLeft + F::kRight) / 2.0, F::kHeight - 3.0,
           example.groups == 0 ? "each with its own quantizer" : "group, narrowest first", "tick", Anchor::kMiddle);
  return svg.str();
}

std::string moves_chart(const GroupedExample& example, std::size_t a, std::size_t b) {
  const auto groups = static_cast<std::size_t>(std::max(example.groups, 1));
  const double gap = groups > 16 ? 2.0 : 4.0, line = 12.5;
  const double height = groups <= 12 ? std::max(210.0, line * static_cast<double>(groups) + 40.0) : 300.0;
  constexpr double kTop = 26.0, kLeft = 78.0, kRight = kWidth - 78.0, kBlock = 11.0;
  const double bottom = height - 8.0;
  std::vector<std::vector<std::size_t>> count(groups, std::vector<std::size_t>(groups, 0));
  std::vector<std::size_t> left_total(groups, 0), right_total(groups, 0);
  for (std::size_t i = 0; i < example.images[a].size(); ++i) {
    const auto from = static_cast<std::size_t>(example.images[a][i].group),
               to = static_cast<std::size_t>(example.images[b][i].group);
    ++count[from][to];
    ++left_total[from];
    ++right_total[to];
  }
  const auto members = static_cast<double>(std::max<std::size_t>(example.images[a].size(), 1));
  const double unit = (bottom - kTop - gap * static_cast<double>(groups - 1)) / members;
  const auto starts = [&](const std::vector<std::size_t>& totals) {
    std::vector<double> y(groups);
    double at = kTop;
    for (std::size_t g = 0; g < groups; ++g) {
      y[g] = at;
      at += unit * static_cast<double>(totals[g]) + gap;
    }
    return y;
  };
  std::vector<double> left = starts(left_total), right = starts(right_total);

  Svg svg(kWidth, height,
          fmt::format("Groups of the {} of {} on two images: {} percent are in another group on the second",
                      member_noun(example), example.site, number(moved_percent(example, a, b))));
  const auto side = [&](const std::vector<double>& y, const std::vector<std::size_t>& totals, double x, double label_x,
                        Anchor anchor) {
    std::vector<double> wanted;
    for (std::size_t g = 0; g < groups; ++g) {
      svg.rect(x, y[g], kBlock, unit * static_cast<double>(totals[g]),
               "block " + ramp_class(static_cast<int>(g), example.groups));
      wanted.push_back(y[g] + unit * static_cast<double>(totals[g]) / 2.0 + 3.5);
    }
    // A few labels all fit near their blocks; of many only those that have room beside theirs (the table has the
    // others).
    const bool few = groups <= 12;
    const std::vector<double> places = few ? spread_labels(wanted, line, kTop + 6.0, bottom) : wanted;
    double free = 0.0;
    for (std::size_t g = 0; g < groups; ++g) {
      if (!few && (places[g] < free || totals[g] == 0)) continue;
      svg.text(label_x, places[g], fmt::format("group {}: {}", g + 1, totals[g]), "tick", anchor);
      free = places[g] + line;
    }
  };
  side(left, left_total, kLeft, kLeft - 5.0, Anchor::kEnd);
  side(right, right_total, kRight - kBlock, kRight + 5.0, Anchor::kStart);
  svg.text(kLeft + kBlock, 13.0, "first image", "unit", Anchor::kEnd);
  svg.text(kRight - kBlock, 13.0, "second image", "unit");
  const double x0 = kLeft + kBlock + 1.0, x1 = kRight - kBlock - 1.0, middle = (x0 + x1) / 2.0;
  for (std::size_t from = 0; from < groups; ++from)
    for (std::size_t to = 0; to < groups; ++to) {
      if (count[from][to] == 0) continue;
      const double thick = unit * static_cast<double>(count[from][to]);
      const double y0 = left[from], y1 = right[to];
      const std::string d =
          fmt::format("M{} {}C{} {} {} {} {} {}V{}C{} {} {} {} {} {}Z", coordinate(x0), coordinate(y0),
                      coordinate(middle), coordinate(y0), coordinate(middle), coordinate(y1), coordinate(x1),
                      coordinate(y1), coordinate(y1 + thick), coordinate(middle), coordinate(y1 + thick),
                      coordinate(middle), coordinate(y0 + thick), coordinate(x0), coordinate(y0 + thick));
      const std::string tooltip =
          from == to ? fmt::format("{} stay in group {}", count[from][to], from + 1)
                     : fmt::format("{} move from group {} to group {}", count[from][to], from + 1, to + 1);
      svg.path(d, from == to ? "stay" : "move " + ramp_class(static_cast<int>(from), example.groups), 0.0, tooltip);
      left[from] += thick;
      right[to] += thick;
    }
  return svg.str();
}

}  // namespace igq::report
