// The page of a detector's report, from its data.
#include <fmt/format.h>

#include <algorithm>

#include "report/detector_report.h"
#include "report/html.h"
#include "report/site_text.h"
#include "report/svg.h"

namespace igq::report {
namespace {

std::string lead_of(const DetectorReportData& data) {
  return fmt::format("{}, {} labels, {}", data.architecture, data.labels.size(),
                     data.masks ? "boxes and masks" : "boxes");
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

std::string parts_list(const DetectorReportData& data) {
  const std::vector<PartNoise> parts = noise_of_parts(data);
  std::string list = "<div class=\"list\">\n";
  for (const PartNoise& p : parts)
    if (p.measured > 0)
      list += noise_bar(breakable(p.part), p.mean_percent, parts.front().mean_percent,
                        fmt::format("{} % ({}; worst {} dB)", number(p.mean_percent, 2),
                                    plural(p.measured, "site", "sites"), decibels(p.worst_db)));
  return "<h3>Part by part</h3>\n" +
         paragraph(
             "Noise that the sites of a part put into their own outputs, in percent of the outputs' energy: the "
             "mean over the part.",
             "soft") +
         list + "</div>\n";
}

std::string worst_sites(const DetectorReportData& data) {
  const std::string list = worst_sites_list(data.sites, 8);
  return list.empty() ? "" : "<h3>The sites that hurt most on their own</h3>\n" + list;
}

std::string site_table(const DetectorReportData& data) {
  std::vector<std::vector<std::string>> rows;
  for (const SiteRow& s : data.sites)
    rows.push_back({breakable(s.name), bits_text(s), groups_text(s), decibels(s.alone)});
  return details(fmt::format("All {} sites as a table", data.sites.size()),
                 table({"site", "bits", "groups", "alone dB"}, rows,
                       "Bits of weights and activations (attention: of the softmax), groups in use, errors."));
}

std::string noise_section(const DetectorReportData& data) {
  const bool measured =
      std::any_of(data.sites.begin(), data.sites.end(), [](const SiteRow& s) { return s.alone.has_value(); });
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
                 paragraph(words) + parts_list(data) + worst_sites(data) + site_table(data));
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

std::string origin(const DetectorReportData& data) {
  Facts more;
  if (data.speed)
    more.emplace_back("Timed on", fmt::format("{}, {}, {}, one picture, all of the detection, {} passes of each in "
                                              "turn, medians; float is the same network in fp32",
                                              escape(data.speed->cpu), escape(data.speed->isa),
                                              plural(data.speed->threads, "thread", "threads"), data.speed->rounds));
  more.emplace_back("Words",
                    "An object of float counts as found again when integers have one of the same label whose box "
                    "overlaps it by half (IoU 0.5). AP is COCO's metric with float's objects as the truth; no "
                    "annotations are needed.");
  return provenance_section(data.provenance, "picture", "pictures", more);
}

}  // namespace

std::string detector_report_html(const DetectorReportData& data) {
  return report_page(data.file, lead_of(data),
                     tiles(data) + noise_section(data) + pictures_section(data) + origin(data));
}

}  // namespace igq::report
