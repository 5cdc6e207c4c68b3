// The model card: a Markdown page with a YAML head, as model hubs show them beside a model's files.
#pragma once

#include <string>

#include "base/output_file.h"
#include "report/report_data.h"

namespace igq::report {

/// A card of igq: its YAML head ends with the name of its generator.
extern const OutputKind kCardOutput;

/// What the file is, what was measured, how to use it, how it was made. What is not known is said, not guessed: the
/// licence is left to the publisher.
std::string model_card(const ReportData& data);

}  // namespace igq::report
