#include "report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "report/svg.h"

namespace igq::report {
namespace {

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --back: #f4f5f7; --card: #ffffff; --text: #1c2026; --soft: #59616c;
  --rule: #d9dde3; --grid: #e6e9ee;
  --neutral: #6d7682; --warn: #a8330f; --link: #0b57a4;
  --k0: #0b62a8; --k1: #b34700; --k2: #007a58; --k3: #8f3d8f; --k4: #7a6100; --k5: #4a525c; }
@media screen and (prefers-color-scheme: dark) {
  :root { --back: #101216; --card: #1a1d22; --text: #e8eaee; --soft: #a4adb9; --rule: #343a43; --grid: #2a2f37;
    --neutral: #8f99a6; --warn: #ff9b70; --link: #7cb8ff;
    --k0: #6fb7f2; --k1: #f59a52; --k2: #3fc79a; --k3: #dc93dc; --k4: #dcc04a; --k5: #b6bec8; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main, header.top, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header.top { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 6px; }
h3 { font-size: 1rem; margin: 18px 0 4px; }
p { margin: 0 0 12px; max-width: 74ch; overflow-wrap: anywhere; }
.soft, figcaption, .note { color: var(--soft); }
.lead { font-size: 1.05rem; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 12px; margin: 16px 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px;
  overflow-wrap: anywhere; }
.tile .label { color: var(--soft); font-size: 0.85rem; }
.tile .value { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile .note { font-size: 0.85rem; line-height: 1.4; }
dl { display: grid; grid-template-columns: minmax(7em, max-content) 1fr; gap: 2px 16px; margin: 0;
  font-size: 0.92rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
code { font: 0.88em ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 14px 28px;
  margin: 10px 0; align-items: end; }
.panels.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 10px 24px; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: 0.88rem; line-height: 1.4; margin-bottom: 6px; }
figcaption strong { color: var(--text); font-weight: 600; }
figcaption .pair { display: flex; gap: 10px; align-items: center; }
figcaption .pair > span { min-width: 0; overflow-wrap: anywhere; }
figcaption img { width: 52px; height: 52px; object-fit: contain; flex: none; border-radius: 4px; }
.beside { align-items: center; }
svg { display: block; width: 100%; height: auto; overflow: hidden; }
svg text { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--text); }
svg text.tick, svg text.unit { fill: var(--soft); font-size: 10.5px; font-variant-numeric: tabular-nums; }
svg text.small { font-size: 9.5px; }
.grid { stroke: var(--grid); } .axis { stroke: var(--neutral); } .level { stroke: var(--grid); stroke-width: 0.7; }
.edge { stroke: var(--neutral); stroke-dasharray: 4 3; fill: none; }
.bar { fill: var(--k0); } .neutral { stroke: var(--neutral); fill: none; } .stay { fill: var(--neutral);
  opacity: 0.22; }
.band { fill: var(--c); opacity: 0.18; } .bars { stroke: var(--c); fill: none; } .block { fill: var(--c); }
.move { fill: var(--c); opacity: 0.6; }
.k0 { --c: var(--k0); } .k1 { --c: var(--k1); } .k2 { --c: var(--k2); } .k3 { --c: var(--k3); }
.k4 { --c: var(--k4); } .k5 { --c: var(--k5); }
.curve { stroke: var(--c); stroke-width: 1.8; fill: none; stroke-linejoin: round; } .dot { fill: var(--c);
  stroke: var(--card); stroke-width: 0.8; }
svg text.series { fill: var(--c); font-weight: 600; }
.list { display: grid; grid-template-columns: minmax(0, max-content) minmax(60px, 1fr) max-content; gap: 4px 12px;
  align-items: center; font-size: 0.9rem; margin: 8px 0 14px; }
.list > * { min-width: 0; overflow-wrap: anywhere; }
.list .track { display: block; height: 12px; }
.list .track span { display: block; height: 100%; background: var(--k1); border-radius: 2px; min-width: 1px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.list .amount { text-align: right; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 4px 0; }
th, td { text-align: right; padding: 3px 6px; border-bottom: 1px solid var(--rule); vertical-align: top;
  font-weight: 400; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); }
details { margin: 12px 0 0; }
summary { cursor: pointer; color: var(--link); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 225px), 1fr)); gap: 12px; }
.card { display: flex; gap: 10px; font-size: 0.84rem; line-height: 1.4; border: 1px solid var(--rule);
  border-radius: 8px; padding: 8px; break-inside: avoid; min-width: 0; }
.card img { width: 84px; height: 84px; object-fit: contain; flex: none; border-radius: 4px; }
.card > div { min-width: 0; overflow-wrap: anywhere; }
.card .file { color: var(--soft); font-size: 0.92em; }
.card.wide { grid-column: 1 / -1; }
.neighbours { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 6px; }
.neighbours > span { min-width: 5em; }
.neighbours figure { margin: 0; padding: 2px; border: 2px solid transparent; border-radius: 6px; }
.neighbours figure.changed { border-color: var(--warn); }
.neighbours figcaption { text-align: center; color: var(--soft); font-size: 0.85em; }
.neighbours img { width: 60px; height: 60px; }
.changed { color: var(--warn); font-weight: 650; }
.message { border-left: 3px solid var(--neutral); padding-left: 12px; color: var(--soft); }
footer { color: var(--soft); font-size: 0.85rem; padding-bottom: 32px; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  main, header.top, footer { padding-left: 10px; padding-right: 10px; }
  section { padding: 14px 12px; }
  dl { grid-template-columns: 1fr; } dt { margin-top: 6px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } .tile { padding: 10px 12px; }
  .tile .value { font-size: 1.4rem; }
  th, td { padding: 3px 4px; } table { font-size: 0.78rem; }
}
@media print {
  :root { --back: #ffffff; }
  body { font-size: 11px; } main, header.top, footer { max-width: none; padding: 0; }
  section, .tile { border-color: #bbbbbb; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  .panels { grid-template-columns: 1fr 1fr; } .panels.small { grid-template-columns: 1fr 1fr 1fr; }
  .tiles { grid-template-columns: repeat(4, 1fr); }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { color: inherit; list-style: none; }
}
)css";

using Rgb = std::array<int, 3>;
constexpr std::array<Rgb, 5> kLightRamp{{{23, 32, 107}, {98, 44, 150}, {168, 49, 120}, {204, 74, 66}, {184, 112, 16}}};
constexpr std::array<Rgb, 5> kDarkRamp{
    {{98, 116, 232}, {168, 112, 236}, {232, 118, 178}, {255, 160, 116}, {255, 222, 110}}};

}  // namespace

std::string ramp_color(int step, bool dark) {
  const auto& ramp = dark ? kDarkRamp : kLightRamp;
  const double at = static_cast<double>(step) / (kRampSteps - 1) * static_cast<double>(ramp.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(at), ramp.size() - 2);
  const double mix = at - static_cast<double>(i);
  Rgb color{};
  for (std::size_t c = 0; c < 3; ++c)
    color[c] = static_cast<int>(std::lround((1.0 - mix) * ramp[i][c] + mix * ramp[i + 1][c]));
  return fmt::format("#{:02x}{:02x}{:02x}", color[0], color[1], color[2]);
}

std::string ramp_class(int rank, int groups) {
  return fmt::format(
      "c{}",
      groups < 2 ? 0 : static_cast<int>(std::lround(static_cast<double>(rank) * (kRampSteps - 1) / (groups - 1))));
}

const OutputKind kReportOutput{
    "a report of igq", [](const InputFile& file) {
      std::string text(std::min<std::uint64_t>(file.size(), 4096), '\0');
      file.read(0, std::as_writable_bytes(std::span(text)));
      constexpr std::string_view kBegins = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
      if (!text.starts_with(kBegins)) return false;
      const std::string_view then = std::string_view(text).substr(kBegins.size());
      const std::size_t title = then.find("<title>"), end = then.find("</title>");
      const bool older =
          then.starts_with("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ") &&
          end != std::string_view::npos && then.substr(title, end - title).ends_with(" - igq report");
      return then.starts_with("<meta name=\"generator\" content=\"igq report\">\n") || older;
    }};

std::string page(std::string_view title, std::string_view body) {
  std::string light, dark;
  for (int step = 0; step < kRampSteps; ++step) {
    light += fmt::format(".c{} {{ --c: {}; }} ", step, ramp_color(step, false));
    dark += fmt::format(".c{} {{ --c: {}; }} ", step, ramp_color(step, true));
  }
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"generator\" content=\"igq report\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src "
      "data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n"
      "<style>{}{}\n@media screen and (prefers-color-scheme: dark) {{ {} "
      "}}\n</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      escape(title), kStyle, light, dark, body);
}

std::string section(std::string_view id, std::string_view heading, std::string_view body) {
  return fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", id, escape(heading), body);
}

std::string paragraph(std::string_view html, std::string_view classes) {
  return classes.empty() ? fmt::format("<p>{}</p>\n", html) : fmt::format("<p class=\"{}\">{}</p>\n", classes, html);
}

std::string panels(const std::vector<std::string>& charts, std::string_view classes) {
  std::string html = fmt::format("<div class=\"{}\">\n", classes);
  for (const std::string& chart : charts) html += chart;
  return html + "</div>\n";
}

std::string figure(std::string_view caption, std::string_view chart) {
  return fmt::format("<figure>\n<figcaption>{}</figcaption>\n{}</figure>\n", caption, chart);
}

std::string details(std::string_view summary, std::string_view html) {
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", escape(summary), html);
}

std::string tile(std::string_view label, std::string_view value, std::string_view note) {
  return fmt::format(
      "<div class=\"tile\"><div class=\"label\">{}</div><div class=\"value\">{}</div><div "
      "class=\"note\">{}</div></div>\n",
      escape(label), escape(value), escape(note));
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                  std::string_view caption) {
  std::string html = fmt::format("<table>\n<caption>{}</caption>\n<thead><tr>", escape(caption));
  for (const std::string& cell : header) html += fmt::format("<th scope=\"col\">{}</th>", escape(cell));
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    html += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c)
      html += c == 0 ? fmt::format("<th scope=\"row\">{}</th>", row[c]) : fmt::format("<td>{}</td>", row[c]);
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n";
}

std::string breakable(std::string_view text) {
  std::string html, part;
  for (const char c : text) {
    part += c;
    if (c != '.' && c != '/' && c != '_') continue;
    html += escape(part) + "<wbr>";
    part.clear();
  }
  return html + escape(part);
}

std::string plural(std::int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t b = 0; b < 3; ++b) word = word << 8 | (b < count ? static_cast<std::uint8_t>(bytes[i + b]) : 0u);
    for (std::size_t d = 0; d < 4; ++d) text += d <= count ? kDigits[word >> (18 - 6 * d) & 63] : '=';
  }
  return text;
}

}  // namespace igq::report
