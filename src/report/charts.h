// The report's charts, each an inline SVG of about the width of a phone.
#pragma once

#include <string>
#include <vector>

#include "report/report_data.h"

namespace igq::report {

/// "qkv", "proj", "fc1"; an attention is "attention".
std::string kind_label(const SiteRow& site);
/// The kinds of site within blocks, in the order of the network.
std::vector<std::string> block_kinds(const ReportData& data);

/// Groups of the sites of one kind, a bar per block.
std::string allocation_chart(const ReportData& data, const std::string& kind);
/// Signal-to-noise over the depth of the network, a curve per kind of site. low, high: the axis in dB.
std::string noise_chart(const ReportData& data, bool accumulated, double low, double high);

/// Every member of one image as a bar from its minimum to its maximum, in the order of `order`; behind them the levels
/// of the one quantizer that would hold them all.
std::string ungrouped_chart(const GroupedExample& example, std::size_t image, const std::vector<std::size_t>& order);
/// The same bars group by group, in front of what each group's codes can represent.
std::string grouped_chart(const GroupedExample& example, std::size_t image);
/// Which groups the members of image a are in on image b.
std::string moves_chart(const GroupedExample& example, std::size_t a, std::size_t b);
/// Indices of members, the narrowest range of `image` first.
std::vector<std::size_t> by_width(const GroupedExample& example, std::size_t image);

}  // namespace igq::report
