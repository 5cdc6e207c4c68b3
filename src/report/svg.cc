#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace igq::report {
namespace {

/// Length of the UTF-8 character at `at`, 0 when it is none (stray or cut bytes, overlong forms, surrogates).
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(at);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  const std::uint8_t second = byte(at + 1);
  const bool outside = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                       (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return outside ? 0 : length;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const char c = text[i];
    if (length == 0)
      out += "\xEF\xBF\xBD";
    else if (length > 1)
      out += text.substr(i, length);
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F ? ' ' : c;
    i += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string number(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0.0) return "0";
  const double size = std::abs(value);
  if (size < 1e-4 || size >= 1e7) return fmt::format("{:.{}g}", value, digits);
  const int decimals = std::clamp(digits - 1 - static_cast<int>(std::floor(std::log10(size))), 0, 8);
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

std::string tick_label(double value) {
  const double size = std::abs(value);
  if (size >= 1e4 && size < 1e7) return number(value / 1e3) + "k";
  if (size > 0.0 && (size < 1e-3 || size >= 1e7)) {
    const int exponent = static_cast<int>(std::floor(std::log10(size) + 1e-9));
    return fmt::format("{}e{}", number(value / std::pow(10.0, exponent), 2), exponent);
  }
  return number(value);
}

std::vector<double> nice_ticks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || !std::isfinite(high - low) || count < 1) return ticks;
  const double rough = (high - low) / count, power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= 0.999 * rough) {
      step = factor * power;
      break;
    }
  for (; ticks.empty(); step /= 2.0) {
    const double slack = 1e-9 * step;
    for (double k = std::ceil((low - slack) / step); k * step <= high + slack; k += 1.0)
      ticks.push_back(k == 0.0 ? 0.0 : k * step);
  }
  return ticks;
}

std::vector<double> spread_labels(std::vector<double> wanted, double gap, double top, double bottom) {
  if (wanted.empty()) return wanted;
  wanted.front() = std::max(wanted.front(), top);
  for (std::size_t i = 1; i < wanted.size(); ++i) wanted[i] = std::max(wanted[i], wanted[i - 1] + gap);
  wanted.back() = std::min(wanted.back(), bottom);
  for (std::size_t i = wanted.size() - 1; i > 0; --i) wanted[i - 1] = std::min(wanted[i - 1], wanted[i] - gap);
  return wanted;
}

std::string coordinate(double value) {
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

Svg::Svg(double width, double height, std::string_view label) : width_(width), height_(height) {
  body_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", coordinate(width),
                      coordinate(height), escape(label));
}

void Svg::finish(std::string_view tag, std::string_view tooltip) {
  if (tooltip.empty())
    body_ += "/>\n";
  else
    body_ += fmt::format("><title>{}</title></{}>\n", escape(tooltip), tag);
}

void Svg::rect(double x, double y, double width, double height, std::string_view classes, std::string_view tooltip) {
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{}\"", coordinate(x), coordinate(y),
                       coordinate(std::max(width, 0.0)), coordinate(std::max(height, 0.0)), classes);
  finish("rect", tooltip);
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view classes) {
  body_ += fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{}\"/>\n", coordinate(x1), coordinate(y1),
                       coordinate(x2), coordinate(y2), classes);
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, std::string_view classes) {
  body_ += "<polyline points=\"";
  for (const auto& [x, y] : points) body_ += fmt::format("{},{} ", coordinate(x), coordinate(y));
  body_ += fmt::format("\" class=\"{}\"/>\n", classes);
}

void Svg::path(std::string_view d, std::string_view classes, double width, std::string_view tooltip) {
  if (d.empty()) return;
  body_ += fmt::format("<path d=\"{}\" class=\"{}\"", d, classes);
  if (width > 0.0) body_ += fmt::format(" stroke-width=\"{}\"", coordinate(width));
  finish("path", tooltip);
}

void Svg::text(double x, double y, std::string_view text, std::string_view classes, Anchor anchor) {
  constexpr std::string_view kAnchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  body_ += fmt::format("<text x=\"{}\" y=\"{}\"{}", coordinate(x), coordinate(y), kAnchors[static_cast<int>(anchor)]);
  if (!classes.empty()) body_ += fmt::format(" class=\"{}\"", classes);
  body_ += fmt::format(">{}</text>\n", escape(text));
}

void Svg::marker(double x, double y, int shape, std::string_view classes, std::string_view tooltip) {
  constexpr double r = 3.4;
  std::string d;
  const auto add = [&](double dx, double dy) {
    d += fmt::format("{}{} {}", d.empty() ? "M" : "L", coordinate(x + r * dx), coordinate(y + r * dy));
  };
  const auto shape_of = [&](std::initializer_list<std::pair<double, double>> corners) {
    for (const auto& [dx, dy] : corners) add(dx, dy);
    d += 'Z';
  };
  switch (shape % 6) {
    case 0:
      shape_of({{1, 0}, {0.7, 0.7}, {0, 1}, {-0.7, 0.7}, {-1, 0}, {-0.7, -0.7}, {0, -1}, {0.7, -0.7}});
      break;
    case 1:
      shape_of({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
      break;
    case 2:
      shape_of({{0, -1.1}, {1.1, 0.9}, {-1.1, 0.9}});
      break;
    case 3:
      shape_of({{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}});
      break;
    case 4:
      shape_of({{-1.1, -0.9}, {1.1, -0.9}, {0, 1.1}});
      break;
    default:
      shape_of({{-0.4, -1.1},
                {0.4, -1.1},
                {0.4, -0.4},
                {1.1, -0.4},
                {1.1, 0.4},
                {0.4, 0.4},
                {0.4, 1.1},
                {-0.4, 1.1},
                {-0.4, 0.4},
                {-1.1, 0.4},
                {-1.1, -0.4},
                {-0.4, -0.4}});
  }
  path(d, classes, 0.0, tooltip);
}

void Svg::y_axis(const Scale& scale, double left, double right, std::string_view unit, int ticks) {
  for (const double tick : nice_ticks(scale.low, scale.high, ticks)) {
    line(left, scale(tick), right, scale(tick), tick == 0.0 ? "axis" : "grid");
    text(left - 4, scale(tick) + 3.5, tick_label(tick), "tick", Anchor::kEnd);
  }
  if (!unit.empty()) text(2, std::min(scale.from, scale.to) - 7, unit, "unit");
}

std::string Svg::str() const { return body_ + "</svg>\n"; }

}  // namespace igq::report
