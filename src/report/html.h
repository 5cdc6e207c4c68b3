// The frame of the report: style sheet (light, dark, print, phones), colours, and the few HTML parts its sections use.
// Nothing is loaded and no script runs; a content security policy in the page says so to the browser.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/output_file.h"

namespace igq::report {

/// Colours of ordered groups, dark blue to ochre (blue to yellow in the dark), apart in lightness as well as in hue.
inline constexpr int kRampSteps = 32;
std::string ramp_color(int step, bool dark);  ///< "#17206b"; step 0 .. kRampSteps - 1
/// The CSS class of group `rank` of `groups` (ascending): "c0" .. "c31".
std::string ramp_class(int rank, int groups);

/// Backgrounds that charts lie on, for checks of contrast.
inline constexpr std::string_view kLightBackground = "#ffffff", kDarkBackground = "#1a1d22";

/// A page of igq report: it begins as page() begins, with the name of its generator; older ones have no such name.
extern const OutputKind kReportOutput;

/// The whole document around `body` (HTML). `title` is plain text.
std::string page(std::string_view title, std::string_view body);

/// A section with its heading; heading is plain text, body HTML.
std::string section(std::string_view id, std::string_view heading, std::string_view body);
std::string paragraph(std::string_view html, std::string_view classes = {});
/// Charts side by side where there is room.
std::string panels(const std::vector<std::string>& charts, std::string_view classes = "panels");
/// A chart under a caption (HTML).
std::string figure(std::string_view caption, std::string_view chart);
/// Closed at first; everything inside is printed.
std::string details(std::string_view summary, std::string_view html);
/// A number in large type: all plain text.
std::string tile(std::string_view label, std::string_view value, std::string_view note);
/// Cells are HTML; the first column heads its row.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                  std::string_view caption);
/// Escaped text that may break after dots, slashes and underscores.
std::string breakable(std::string_view text);
std::string base64(std::string_view bytes);
/// "1 image", "3 images".
std::string plural(std::int64_t count, std::string_view one, std::string_view many);

}  // namespace igq::report
