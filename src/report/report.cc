// The sections of the report, from its data.
#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/example_section.h"
#include "report/html.h"
#include "report/site_text.h"
#include "report/svg.h"

namespace igq::report {
namespace {

std::string grouping_words(Grouping grouping) {
  switch (grouping) {
    case Grouping::kFloat:
      return "float";
    case Grouping::kLayer:
      return "one quantizer per layer";
    case Grouping::kStaticGroup:
      return "fixed groups of consecutive channels";
    case Grouping::kIgq:
      return "instance-aware groups";
    case Grouping::kScale:
      return "instance-aware groups by scale";
    case Grouping::kUpperBound:
      return "one quantizer per channel and softmax row";
  }
  return "";
}

/// The grouping and bits that most block sites have.
const SiteRow* typical_site(const ReportData& data) {
  const SiteRow* best = nullptr;
  std::int64_t most = 0;
  for (const SiteRow& s : data.sites) {
    if (s.attention || s.block < 0) continue;
    const auto count = std::count_if(data.sites.begin(), data.sites.end(), [&](const SiteRow& t) {
      return !t.attention && t.block >= 0 && t.grouping == s.grouping && t.weight_bits == s.weight_bits &&
             t.activation_bits == s.activation_bits;
    });
    if (count > most) {
      most = count;
      best = &s;
    }
  }
  return best;
}

std::string lead_of(const ReportData& data) {
  const ModelConfig& config = data.config;
  std::string lead = fmt::format("{}, {} x {} pixels, {} classes",
                                 config.architecture.empty() ? "vision transformer" : config.architecture,
                                 config.image_width, config.image_height, config.num_classes);
  if (config.num_classes == 0)
    lead = fmt::format("{}, {} x {} pixels, vectors of {} values",
                       config.architecture.empty() ? "vision transformer" : config.architecture, config.image_width,
                       config.image_height, embedding_width(config));
  if (const SiteRow* s = typical_site(data))
    lead += fmt::format("; blocks in {}, {}", bits_text(*s), grouping_words(s->grouping));
  return lead;
}

std::string tiles(const ReportData& data) {
  std::string html;
  html += tile("File", fmt::format("{} MB", number(data.file_mb)),
               fmt::format("{}\u00d7 smaller than {} MB in float", number(data.float_mb / std::max(data.file_mb, 1e-9)),
                           number(data.float_mb)));
  html += tile("Bit operations", fmt::format("{} G", number(data.gbops)),
               fmt::format("{}\u00d7 fewer than {} G in float; groups add {} %",
                           number(data.float_gbops / std::max(data.gbops, 1e-9)), number(data.float_gbops),
                           number(100.0 * (data.gbops / std::max(data.one_group_gbops, 1e-9) - 1.0), 2)));
  if (data.speed)
    html += tile(
        "One image", fmt::format("{} ms", number(data.speed->integer_ms)),
        fmt::format("{}\u00d7 the speed of float ({} ms); {}", number(data.speed->float_ms / data.speed->integer_ms),
                    number(data.speed->float_ms), plural(data.speed->threads, "thread", "threads")));
  if (data.accuracy && data.accuracy->labelled) {
    const Accuracy& a = *data.accuracy;
    std::string note = fmt::format("\u00b1{:.1f}, {}", a.interval, plural(a.images, "image", "images"));
    if (a.float_top1) note += fmt::format("; float {:.1f} %", *a.float_top1);
    html += tile("Top-1 accuracy", fmt::format("{:.1f} %", a.top1), note);
  }
  if (data.accuracy && data.accuracy->agreement)
    html += tile("Same as float", fmt::format("{:.1f} %", *data.accuracy->agreement),
                 fmt::format("{} of {} images answered otherwise", data.accuracy->changed, data.accuracy->images));
  if (data.vectors) {
    const VectorFacts& v = *data.vectors;
    html += tile(
        "Cosine to float", fmt::format("{:.4f}", v.cosines.mean),
        fmt::format("mean of {}; 1st percentile {:.4f}", plural(v.images, "image", "images"), v.cosines.percentile1));
    html += tile("Nearest image kept", fmt::format("{:.1f} %", 100.0 * v.recall.at1),
                 fmt::format("of the ten nearest {:.1f} %", 100.0 * v.recall.at10));
  }
  if (data.noise_images > 0)
    html += tile("Signal to noise", fmt::format("{} dB", decibels(data.logits_snr)),
                 fmt::format("of the {}, {} {}", data.config.num_classes == 0 ? "vector" : "logits",
                             plural(data.noise_images, data.noise_on_data ? "image" : "calibration image",
                                    data.noise_on_data ? "images" : "calibration images"),
                             "against float"));
  return "<div class=\"tiles\">\n" + html + "</div>\n";
}

// --- Which layer hurts ---

std::string worst_sites(const ReportData& data) {
  const std::string list = worst_sites_list(data.sites, 6);
  if (list.empty()) return "";
  return "<h3>The sites that hurt most on their own</h3>\n" +
         paragraph("Noise that a site puts into its own output, in percent of the output's energy.", "soft") + list;
}

std::string noise_section(const ReportData& data) {
  if (data.noise_images == 0)
    return section("errors", "Which layer hurts",
                   paragraph("This file holds no errors: it was quantized with <code>--noise-images 0</code>. Add "
                             "<code>--float MODEL --data-dir DIR</code> to "
                             "measure them.",
                             "message"));
  double low = 0.0, high = 5.0;
  bool alone = false;
  for (const SiteRow& s : data.sites)
    for (const auto& value : {s.alone, s.accumulated}) {
      alone = alone || s.alone.has_value();
      if (s.block < 0 || !value || *value >= kNoNoise) continue;
      low = std::min(low, *value - 1.0);
      high = std::max(high, *value + 1.0);
    }
  std::string body =
      paragraph(fmt::format("Signal-to-noise ratio of the output of every quantization site against the float model, "
                            "on {}. Higher is better; 10 dB less "
                            "is ten times the noise.",
                            plural(data.noise_images, data.noise_on_data ? "image" : "calibration image",
                                   data.noise_on_data ? "images" : "calibration images")));
  std::vector<std::string> charts;
  if (alone)
    charts.push_back(
        figure("<strong>Alone:</strong> only this site is quantized", noise_chart(data, false, low, high)));
  charts.push_back(figure("<strong>Accumulated:</strong> everything is quantized, noise adds up",
                          noise_chart(data, true, low, high)));
  if (data.qkv_left_out)
    body += paragraph(
        "The qkv layers of this model were balanced: their outputs differ from the float model's by design, so their "
        "errors are left out.",
        "soft");
  body += panels(charts) + worst_sites(data);
  return section("errors", "Which layer hurts", body);
}

std::string site_table(const ReportData& data) {
  std::vector<std::vector<std::string>> rows;
  for (const SiteRow& s : data.sites)
    rows.push_back({breakable(s.name), bits_text(s), groups_text(s), number(s.gbops, 2), decibels(s.alone),
                    decibels(s.accumulated)});
  return details(
      fmt::format("All {} sites as a table", data.sites.size()),
      table({"site", "bits", "groups", "GBOP", "alone dB", "accum. dB"}, rows,
            "Bits of weights and activations (attention: of the softmax), groups, 10^9 bit operations, errors."));
}

std::string allocation_section(const ReportData& data) {
  std::vector<std::string> charts;
  for (const std::string& kind : block_kinds(data)) {
    const auto site = std::find_if(data.sites.begin(), data.sites.end(),
                                   [&](const SiteRow& s) { return s.block >= 0 && s.kind == kind; });
    charts.push_back(figure(fmt::format("<strong>{}</strong>, {}", escape(kind_label(*site)),
                                        site->attention ? "softmax rows" : "input channels"),
                            allocation_chart(data, kind)));
  }
  int least = INT32_MAX, most = 0;
  for (const SiteRow& s : data.sites) {
    if (s.block < 0 || s.groups == 0 || s.grouping == Grouping::kUpperBound) continue;
    least = std::min(least, s.groups);
    most = std::max(most, s.groups);
  }
  const SiteRow* typical = typical_site(data);
  std::string words;
  const bool each_row = std::any_of(data.sites.begin(), data.sites.end(), [](const SiteRow& s) {
    return s.attention && s.grouping == Grouping::kUpperBound;
  });
  if (typical != nullptr && typical->grouping == Grouping::kUpperBound)
    words = "Every channel has its own quantizer, taken from the image itself.";
  else if (most == 0)
    words = "No site within the blocks is quantized in groups.";
  else if (least == most)
    words = fmt::format("Every grouped layer within the blocks has {}.", plural(most, "group", "groups"));
  else
    words = fmt::format("Layers have between {} and {} groups.", least, most);
  if (each_row) words += " Every softmax row has its own quantizer.";
  words += " Bars show the number of groups of each layer, block by block (block numbers below).";
  if (data.allocation) {
    const AllocationFacts& a = *data.allocation;
    words += fmt::format(" The numbers were allocated under a budget of {} G bit operations ({} G are used)",
                         number(a.budget_gbops), number(a.gbops));
    if (a.uniform_divergence)
      words += fmt::format(
          "; the divergence of the predictions, summed over layers quantized alone, is {} instead of {} with equal "
          "groups",
          number(a.divergence), number(*a.uniform_divergence));
    words += ".";
  }
  std::string outside;
  for (const SiteRow& s : data.sites)
    if (s.block < 0)
      outside += fmt::format("{}<code>{}</code> {}{}", outside.empty() ? "" : ", ", breakable(s.name), bits_text(s),
                             s.groups > 0 && s.grouping != Grouping::kUpperBound
                                 ? fmt::format(" with {}", plural(s.groups, "group", "groups"))
                                 : "");
  std::string body = paragraph(words) + panels(charts, "panels small");
  if (!outside.empty()) body += paragraph("Outside the blocks: " + outside + ".", "soft");
  return section("allocation", "Groups of every layer", body + site_table(data));
}

// --- Predictions, provenance ---

std::string predictions_section(const ReportData& data) {
  if (data.predictions.empty())
    return section("predictions", "Example predictions",
                   paragraph("Add <code>--data-dir DIR</code> to see images here.", "message"));
  std::string cards = "<div class=\"cards\">\n";
  std::size_t changed = 0;
  for (const PredictionExample& p : data.predictions) {
    changed += p.changed();
    const bool wrong = p.label >= 0 && p.quantized_class != p.label;
    cards +=
        fmt::format("<div class=\"card\"><img alt=\"\" src=\"data:image/png;base64,{}\"><div>\n", base64(p.thumbnail));
    if (p.float_class >= 0)
      cards +=
          fmt::format("float: {} {:.0f}&nbsp;%<br>", escape(class_name(data, p.float_class)), 100.0 * p.float_score);
    cards += fmt::format("<span{}>quantized: {} {:.0f}&nbsp;%{}</span><br>",
                         p.changed() || (p.float_class < 0 && wrong) ? " class=\"changed\"" : "",
                         escape(class_name(data, p.quantized_class)), 100.0 * p.score,
                         p.changed()                  ? " (changed)"
                         : wrong && p.float_class < 0 ? " (wrong)"
                                                      : "");
    if (p.label >= 0) cards += fmt::format("label: {}<br>", escape(class_name(data, p.label)));
    cards += fmt::format("<span class=\"file\">{}</span></div></div>\n", breakable(p.file));
  }
  const Accuracy& a = *data.accuracy;
  std::string words;
  if (a.agreement)
    words = a.changed == 0
                ? fmt::format("All {} images get the float model's answer.", a.images)
                : fmt::format("{} of {} images get another answer than from float; {} of them are shown first.",
                              a.changed, a.images, changed);
  else
    words = "Without the float model (<code>--float MODEL</code>) changed answers are not known.";
  if (a.bad_images > 0)
    words += fmt::format(" {} could not be read and are left out.", plural(a.bad_images, "image", "images"));
  return section("predictions", "Example predictions", paragraph(words) + cards + "</div>\n");
}

std::string origin(const ReportData& data) {
  Facts more;
  if (data.speed)
    more.emplace_back("Timed on",
                      fmt::format("{}, {}, {}, one image at a time, the fastest of {} alternating rounds; float is the "
                                  "same network in fp32 on the same machine",
                                  escape(data.speed->cpu), escape(data.speed->isa),
                                  plural(data.speed->threads, "thread", "threads"), data.speed->rounds));
  more.emplace_back("Words",
                    "A <em>site</em> is a tensor quantized at run time. A <em>group</em> is a set of channels or rows "
                    "that share a quantizer; the paper calls their number group size. Bit operations count products of "
                    "w-bit and a-bit numbers as w times a.");
  return provenance_section(data.provenance, "image", "images", more);
}

}  // namespace

std::string report_html(const ReportData& data) {
  std::string body = tiles(data);
  body += noise_section(data);
  body += allocation_section(data);
  body += example_section(data, data.channels, false);
  body += example_section(data, data.rows, true);
  if (data.config.num_classes > 0)
    body += predictions_section(data);
  else if (data.vectors)
    body += neighbour_section(*data.vectors);
  else
    body +=
        section("neighbours", "Nearest images",
                paragraph("Add <code>--float MODEL --data-dir DIR</code> to see which images are nearest to others.",
                          "message"));
  body += origin(data);
  return report_page(data.file, lead_of(data), body);
}

}  // namespace igq::report
