#include "report/example_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/html.h"
#include "report/svg.h"

namespace igq::report {
namespace {

std::string image_caption(const GroupedExample& example, std::size_t i, const std::string& words) {
  std::string html = "<span class=\"pair\">";
  if (i < example.thumbnails.size())
    html += fmt::format("<img alt=\"\" src=\"data:image/png;base64,{}\">", base64(example.thumbnails[i]));
  return html + fmt::format("<span><strong>{}</strong><br>{}</span></span>", breakable(example.image_names[i]), words);
}

std::string example_table(const GroupedExample& example) {
  const std::size_t images = example.images.size();
  std::vector<std::string> head{"group"};
  for (std::size_t i = 0; i < images; ++i) {
    head.push_back(fmt::format("image {}", i + 1));
    head.push_back("min to max");
  }
  std::vector<std::vector<std::string>> rows;
  for (int g = 0; g < std::max(example.groups, 1); ++g) {
    std::vector<std::string> row{fmt::format("{}", g + 1)};
    for (const auto& image : example.images) {
      std::size_t count = 0;
      Bounds range{INFINITY, -INFINITY};
      for (const Member& m : image) {
        if (m.group != g) continue;
        ++count;
        range.lower = std::min(range.lower, m.range.lower);
        range.upper = std::max(range.upper, m.range.upper);
      }
      row.push_back(fmt::format("{}", count));
      row.push_back(count == 0 ? "-"
                               : fmt::format("{} to {}", number(static_cast<double>(range.lower), 2),
                                             number(static_cast<double>(range.upper), 2)));
    }
    rows.push_back(std::move(row));
  }
  return details(
      "Groups as a table",
      table(head, rows, "Members of each group on each image, and their smallest minimum and largest maximum."));
}

}  // namespace

std::string example_section(const ReportData& data, const std::optional<GroupedExample>& optional, bool softmax) {
  const std::string id = softmax ? "softmax" : "channels";
  const std::string heading = softmax ? "Softmax rows, image by image" : "Channel ranges, image by image";
  if (!optional)
    return section(id, heading,
                   paragraph(softmax ? "No softmax of this model is quantized, or the file keeps no example. "
                                       "<code>--data-dir DIR</code> measures one."
                                     : "No FC input of this model is quantized, or the file keeps no example. "
                                       "<code>--data-dir DIR</code> measures one.",
                             "message"));
  const GroupedExample& e = *optional;
  const std::string noun = softmax ? "rows" : "channels", one = softmax ? "row" : "channel";
  std::string body;
  if (softmax)
    body +=
        paragraph(fmt::format("The largest probability of every row of head {} of <code>{}</code>: rows that look at "
                              "one token reach near 1, rows that look "
                              "everywhere stay small, and which is which depends on the image.",
                              e.head, breakable(e.site)));
  else
    body +=
        paragraph(fmt::format("Every bar is one input channel of <code>{}</code>, from the smallest to the largest "
                              "value its tokens take in one image. "
                              "Channels differ, and the same channel differs between images.",
                              breakable(e.site)));
  if (e.stride > 1) body += paragraph(fmt::format("Of {} {} one in {} is shown.", e.members, noun, e.stride), "soft");

  const std::vector<std::size_t> order = by_width(e, 0);
  std::vector<std::string> before, after;
  for (std::size_t i = 0; i < e.images.size(); ++i) {
    const GroupingGain gain = grouping_gain(e, i);
    before.push_back(
        figure(image_caption(
                   e, i, fmt::format("median {}: {} of {} steps", one, number(gain.steps_single, 2), code_max(e.bits))),
               ungrouped_chart(e, i, order)));
    after.push_back(figure(
        image_caption(e, i,
                      fmt::format("median {}: {} of {} steps; {} % of the {} lose more than a step to clipping", one,
                                  number(gain.steps_grouped, 2), code_max(e.bits), number(gain.clipped, 2), noun)),
        grouped_chart(e, i)));
  }
  body += fmt::format("<h3>Before: one quantizer for {}</h3>\n", softmax ? "all rows" : "the whole layer");
  body += paragraph(fmt::format("Dashed lines are the range it needs{}.",
                                e.bits <= 5 ? fmt::format(", thin lines its {} levels", code_max(e.bits) + 1) : ""),
                    "soft") +
          panels(before);
  if (e.groups == 1) {
    body += paragraph("This layer has a single quantizer: there is nothing to group.", "message");
    return section(id, heading, body);
  }
  body += fmt::format("<h3>After: {}</h3>\n", e.groups == 0 ? fmt::format("each {} has its own quantizer", one)
                                                            : fmt::format("{} groups", e.groups));
  std::string bands = "Bands show what the codes of a group can represent; what sticks out of its band is clipped.";
  if (e.groups == 0)
    bands = fmt::format("The quantizer of every {} is taken from the image itself.", one);
  else if (e.grouping == Grouping::kScale && !softmax)
    bands =
        "Bands show what the codes can represent: the group decides how wide that is, each channel of each image where "
        "it lies.";
  body += paragraph(bands, "soft") + panels(after);
  if (e.groups > 1 && e.images.size() > 1) {
    body += fmt::format("<h3>{} % of the {} change group between the two images</h3>\n", number(moved_percent(e, 0, 1)),
                        noun);
    std::vector<std::string> moves{
        figure("Coloured: in another group on the second image. Gray: in the same.", moves_chart(e, 0, 1))};
    std::string words = e.grouping == Grouping::kStaticGroup
                            ? "The groups of this model are fixed, so none of them moves."
                            : "A map from " + noun +
                                  " to groups that is fixed at calibration would be wrong for all of these on one of "
                                  "the two images. Here the map is made anew for each "
                                  "image; only the groups' " +
                                  (e.grouping == Grouping::kScale ? "scales" : "bounds") + " are fixed.";
    moves.push_back("<div>" + paragraph(words) + "</div>\n");
    body += panels(moves, "panels beside");
  }
  if (!data.examples_on_data)
    body += paragraph(
        "Ranges of two calibration images, kept in the file. With <code>--data-dir DIR</code> they are measured on "
        "images of yours.",
        "soft");
  if (e.groups > 0) body += example_table(e);
  return section(id, heading, body);
}

}  // namespace igq::report
