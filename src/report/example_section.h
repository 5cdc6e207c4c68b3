// The paper's point made visible: the channels of one layer, or the rows of one softmax, on two images, before and
// after grouping.
#pragma once

#include <optional>
#include <string>

#include "report/report_data.h"

namespace igq::report {

/// `softmax`: `example` are softmax rows, otherwise channels. Says what is missing when there is no example.
std::string example_section(const ReportData& data, const std::optional<GroupedExample>& example, bool softmax);

}  // namespace igq::report
