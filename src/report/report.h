// The report as one self-contained HTML document.
#pragma once

#include <string>

#include "report/report_data.h"

namespace igq::report {

std::string report_html(const ReportData& data);

}  // namespace igq::report
