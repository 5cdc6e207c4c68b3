// The model card: a Markdown page with a YAML head, as model hubs show them beside a model's files.
#pragma once

#include <string>

#include "report/card_text.h"
#include "report/detector_report.h"
#include "report/report_data.h"

namespace igq::report {

/// What the file is, what was measured, how to use it, how it was made. What is not known is said, not guessed: the
/// licence is left to the publisher.
std::string model_card(const ReportData& data);
std::string model_card(const DetectorReportData& data);

}  // namespace igq::report
