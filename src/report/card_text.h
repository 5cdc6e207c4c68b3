// What the model cards of classifiers, encoders and detectors share: quoting, head, provenance, limits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/output_file.h"
#include "report/report_data.h"

namespace igq::report {

/// A card of igq: its YAML head ends with the name of its generator.
extern const OutputKind kCardOutput;

/// Plain text within a line of Markdown: nothing in it is markup, a cell of a table or HTML.
std::string plain(std::string_view text);
/// A word of a shell's command line; quoted where it is more than a plain name.
std::string shell(std::string_view text);
/// A string of YAML, which takes those of JSON; of Python too.
std::string yaml(std::string_view text);

/// `task` is a hub's "pipeline_tag".
std::string card_head(std::string_view task, const Provenance& provenance);
/// "12 x softmax a8, 50 x w8a8".
std::string sites_by_bits(const std::vector<SiteRow>& sites);
/// A line of the table of results.
std::string card_row(std::string_view name, const std::string& value, const std::string& on);
std::string card_speed(const Speed& speed);
/// How `file` was made, and the command that makes it again.
std::string card_provenance(const Provenance& provenance, std::string_view file);
std::string card_limits(const std::vector<std::string>& labels);

}  // namespace igq::report
