#include "report/site_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/html.h"
#include "report/svg.h"

namespace igq::report {

std::string decibels(const std::optional<double>& value) {
  if (!value) return "-";
  return *value >= kNoNoise ? "exact" : fmt::format("{:.1f}", *value);
}

std::string bits_text(const SiteRow& s) {
  const auto text = [](int bits) { return bits > 8 ? std::string("32") : fmt::format("{}", bits); };
  if (s.grouping == Grouping::kFloat && s.weight_bits > 8) return "float";
  return s.attention ? fmt::format("a{}", text(s.activation_bits))
                     : fmt::format("w{}a{}", text(s.weight_bits), text(s.activation_bits));
}

std::string groups_text(const SiteRow& s) {
  if (s.grouping == Grouping::kFloat) return "-";
  return s.grouping == Grouping::kUpperBound ? "each" : fmt::format("{}", s.groups);
}

double noise_percent(double decibels) { return 100.0 * std::pow(10.0, -decibels / 10.0); }

std::string noise_bar(const std::string& name, double percent, double most, const std::string& amount) {
  return fmt::format(
      "<span>{}</span><span class=\"track\"><span style=\"width:{}%\"></span></span><span "
      "class=\"amount\">{}</span>\n",
      name, coordinate(100.0 * percent / std::max(most, 1e-30)), amount);
}

std::string worst_sites_list(const std::vector<SiteRow>& sites, std::size_t count) {
  std::vector<const SiteRow*> worst;
  for (const SiteRow& s : sites)
    if (s.alone && *s.alone < kNoNoise) worst.push_back(&s);
  std::stable_sort(worst.begin(), worst.end(),
                   [](const SiteRow* a, const SiteRow* b) { return *a->alone < *b->alone; });
  worst.resize(std::min(worst.size(), count));
  if (worst.empty()) return "";
  const double most = noise_percent(*worst.front()->alone);
  std::string list = "<div class=\"list\">\n";
  for (const SiteRow* s : worst) {
    const double percent = noise_percent(*s->alone);
    list += noise_bar(breakable(s->name), percent, most,
                      fmt::format("{} % ({} dB)", number(percent, 2), decibels(s->alone)));
  }
  return list + "</div>\n";
}

std::string provenance_section(const Provenance& p, const char* one, const char* many, const Facts& more) {
  Facts facts = {{"Float model", fmt::format("{} <code>{}</code>", breakable(p.source), escape(p.source_checksum))},
                 {"Calibration", fmt::format("{} <code>{}</code>, seed {}", plural(p.calibration_images, one, many),
                                             escape(p.calibration_checksum), p.seed)},
                 {"Settings", fmt::format("<code>{}</code>", escape(p.settings))},
                 {"Made by", "igq " + escape(p.tool_version)}};
  facts.insert(facts.end(), more.begin(), more.end());
  std::string list = "<dl>\n";
  for (const auto& [name, html] : facts) list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, html);
  return section("provenance", "Where it comes from", list + "</dl>\n");
}

std::string report_page(const std::string& file, const std::string& lead, const std::string& sections) {
  return page(
      file + " - igq report",
      fmt::format("<header class=\"top\">\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n{}</main>\n"
                  "<footer>Made by <code>igq report</code>: one file, no script, nothing is loaded from "
                  "elsewhere.</footer>\n",
                  breakable(file), escape(lead), sections));
}

}  // namespace igq::report
