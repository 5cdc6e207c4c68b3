// The page of a detector's report, from its data.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/detector_report.h"
#include "report/html.h"
#include "report/svg.h"

namespace igq::report {
namespace {

std::string decibels(double value) { return value >= kNoNoise ? "exact" : fmt::format("{:.1f}", value); }

std::string bits_text(const DetectorSiteRow& s) {
  const auto text = [](int bits) { return bits > 8 ? std::string("32") : fmt::format("{}", bits); };
  if (s.grouping == Grouping::kFloat && s.weight_bits > 8) return "float";
  return s.attention ? fmt::format("a{}", text(s.activation_bits))
                     : fmt::format("w{}a{}", text(s.weight_bits), text(s.activation_bits));
}

std::string groups_text(const DetectorSiteRow& s) {
  if (s.grouping == Grouping::kFloat) return "-";
  return s.groups == 0 ? "each" : fmt::format("{}", s.groups);
}

std::string header(const DetectorReportData& data) {
  const std::string lead =
      fmt::format("{}, {} labels, {}", data.architecture, data.labels, data.masks ? "boxes and masks" : "boxes");
  return fmt::format("<header class=\"top\">\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n", breakable(data.file),
                     escape(lead));
}

std::string where_measured(const DetectorReportData& data) {
  const std::string images = plural(data.agreement->images, "picture", "pictures");
  if (data.agreement_on_data) return images;
  return images + (data.held_back ? " held back from calibration" : " of the calibration, which flatters it");
}

std::string tiles(const DetectorReportData& data) {
  std::string html = tile("File", fmt::format("{} MB", number(data.file_mb)),
                          fmt::format("{}\u00d7 smaller than {} MB in float",
                                      number(data.float_mb / std::max(data.file_mb, 1e-9)), number(data.float_mb)));
  if (data.agreement && data.agreement->objects > 0) {
    const DetectionAgreement& a = *data.agreement;
    html += tile(
        "Objects found again", fmt::format("{:.1f} %", a.found_percent()),
        fmt::format("of {} that float finds in {}; {} more are invented", a.objects, where_measured(data), a.invented));
    html += tile("Boxes", fmt::format("{:.3f}", a.box_iou),
                 fmt::format("mean overlap (IoU) with float's; scores off by {:.3f}", a.score_change));
    if (a.masks) html += tile("Masks", fmt::format("{:.3f}", a.mask_iou), "mean overlap (IoU) with float's");
    if (a.box_ap >= 0.0)
      html += tile("AP", fmt::format("{:.1f}", a.box_ap),
                   a.masks && a.mask_ap >= 0.0
                       ? fmt::format("of boxes, float's objects as the truth; of masks {:.1f}", a.mask_ap)
                       : "of boxes, float's objects as the truth");
  }
  if (data.speed)
    html += tile(
        "One picture", fmt::format("{} ms", number(data.speed->integer_ms)),
        fmt::format("{}\u00d7 the speed of float ({} ms); {}", number(data.speed->float_ms / data.speed->integer_ms),
                    number(data.speed->float_ms), plural(data.speed->threads, "thread", "threads")));
  return "<div class=\"tiles\">\n" + html + "</div>\n";
}

/// A bar of `percent` beside a name.
std::string bar(const std::string& name, double percent, double most, const std::string& amount) {
  return fmt::format(
      "<span>{}</span><span class=\"track\"><span style=\"width:{}%\"></span></span><span class=\"amount\">{}</span>\n",
      name, coordinate(100.0 * percent / std::max(most, 1e-30)), amount);
}

std::string parts_list(const DetectorReportData& data) {
  const std::vector<PartNoise> parts = noise_of_parts(data);
  std::string list = "<div class=\"list\">\n";
  for (const PartNoise& p : parts)
    if (p.measured > 0)
      list += bar(breakable(p.part), p.mean_percent, parts.front().mean_percent,
                  fmt::format("{} % ({}; worst {} dB)", number(p.mean_percent, 2), plural(p.measured, "site", "sites"),
                              decibels(p.worst_db)));
  return "<h3>Part by part</h3>\n" +
         paragraph(
             "Noise that the sites of a part put into their own outputs, in percent of the outputs' energy: the "
             "mean over the part.",
             "soft") +
         list + "</div>\n";
}

std::string worst_list(const DetectorReportData& data) {
  constexpr std::size_t kWorst = 8;
  std::vector<const DetectorSiteRow*> worst;
  for (const DetectorSiteRow& s : data.sites)
    if (s.alone && *s.alone < kNoNoise) worst.push_back(&s);
  if (worst.empty()) return "";
  std::stable_sort(worst.begin(), worst.end(), [](const auto* a, const auto* b) { return *a->alone < *b->alone; });
  worst.resize(std::min(worst.size(), kWorst));
  const auto share = [](const DetectorSiteRow& s) { return 100.0 * std::pow(10.0, -*s.alone / 10.0); };
  std::string list = "<div class=\"list\">\n";
  for (const DetectorSiteRow* s : worst)
    list += bar(breakable(s->name), share(*s), share(*worst.front()),
                fmt::format("{} % ({} dB)", number(share(*s), 2), decibels(*s->alone)));
  return "<h3>The sites that hurt most on their own</h3>\n" + list + "</div>\n";
}

std::string site_table(const DetectorReportData& data) {
  std::vector<std::vector<std::string>> rows;
  for (const DetectorSiteRow& s : data.sites)
    rows.push_back({breakable(s.name), bits_text(s), groups_text(s), s.alone ? decibels(*s.alone) : "-"});
  return details(fmt::format("All {} sites as a table", data.sites.size()),
                 table({"site", "bits", "groups", "alone dB"}, rows,
                       "Bits of weights and activations (attention: of the softmax), groups in use, errors."));
}

std::string noise_section(const DetectorReportData& data) {
  const bool measured =
      std::any_of(data.sites.begin(), data.sites.end(), [](const DetectorSiteRow& s) { return s.alone.has_value(); });
  if (!measured)
    return section("errors", "Which part hurts",
                   paragraph("This file holds no errors: it was quantized with <code>--noise-images 0</code>. Add "
                             "<code>--float MODEL --data-dir DIR</code> to measure them.",
                             "message") +
                       site_table(data));
  const std::string words = fmt::format(
      "Every layer computes its output once more in integers from the float network's input, on {}. Attentions, whose "
      "products are made piece by piece, are not measured.",
      plural(data.noise_images, data.agreement_on_data ? "picture" : "picture of quantization",
             data.agreement_on_data ? "pictures" : "pictures of quantization"));
  return section("errors", "Which part hurts",
                 paragraph(words) + parts_list(data) + worst_list(data) + site_table(data));
}

std::string image(const std::string& png, const std::string& alternative) {
  return fmt::format("<img style=\"width:100%;height:auto\" alt=\"{}\" src=\"data:image/png;base64,{}\">\n",
                     escape(alternative), base64(png));
}

std::string pictures_section(const DetectorReportData& data) {
  if (data.pictures.empty())
    return section("pictures", "Pictures",
                   paragraph("Add <code>--data-dir DIR</code> to see pictures here, and <code>--float MODEL</code> to "
                             "see them side by side.",
                             "message"));
  std::string body;
  if (data.float_name.empty())
    body = paragraph("Without the float model (<code>--float MODEL</code>) what changed is not known.");
  else
    body = paragraph(fmt::format("{} of {}, those that differ most first: float, then integers.",
                                 plural(static_cast<std::int64_t>(data.pictures.size()), "picture", "pictures"),
                                 data.pictures_seen));
  for (const DetectorPicture& p : data.pictures) {
    std::vector<std::string> pair;
    if (!p.original.empty())
      pair.push_back(figure(
          fmt::format("<strong>float:</strong> {}, {}", breakable(p.file), plural(p.objects, "object", "objects")),
          image(p.original, "float: " + p.file)));
    const std::string changed = p.original.empty() ? breakable(p.file) + ", " + plural(p.shown, "object", "objects")
                                                   : fmt::format("{} found again, {} lost, {} invented", p.found,
                                                                 p.objects - p.found, p.invented);
    pair.push_back(figure("<strong>integers:</strong> " + changed, image(p.integer, "integers: " + p.file)));
    body += panels(pair);
  }
  return section("pictures", "Pictures", body);
}

std::string provenance_section(const DetectorReportData& data) {
  const Provenance& p = data.provenance;
  std::string list = "<dl>\n";
  const auto item = [&](std::string_view name, const std::string& html) {
    list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, html);
  };
  item("Float model", fmt::format("{} <code>{}</code>", breakable(p.source), escape(p.source_checksum)));
  item("Calibration", fmt::format("{} <code>{}</code>, seed {}", plural(p.calibration_images, "picture", "pictures"),
                                  escape(p.calibration_checksum), p.seed));
  item("Settings", fmt::format("<code>{}</code>", escape(p.settings)));
  item("Made by", "igq " + escape(p.tool_version));
  if (data.speed)
    item("Timed on", fmt::format("{}, {}, {}, one picture, all of the detection, {} passes of each in turn, medians; "
                                 "float is the same network in fp32",
                                 escape(data.speed->cpu), escape(data.speed->isa),
                                 plural(data.speed->threads, "thread", "threads"), data.speed->rounds));
  item(
      "Words",
      "An object of float counts as found again when integers have one of the same label whose box overlaps it by half "
      "(IoU 0.5). AP is COCO's metric with float's objects as the truth; no annotations are needed.");
  return section("provenance", "Where it comes from", list + "</dl>\n");
}

}  // namespace

std::string detector_report_html(const DetectorReportData& data) {
  std::string body = header(data) + "<main>\n" + tiles(data) + noise_section(data) + pictures_section(data) +
                     provenance_section(data) + "</main>\n";
  body += "<footer>Made by <code>igq report</code>: one file, no script, nothing is loaded from elsewhere.</footer>\n";
  return page(data.file + " - igq report", body);
}

}  // namespace igq::report
