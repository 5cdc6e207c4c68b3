// What the choice of groups and bits came to, in lines for people.
#pragma once

#include <optional>
#include <string>

#include "allocation/allocate_bits.h"
#include "quantize_flags.h"

namespace igq::cli {

/// What --groups became; empty where nothing is grouped.
std::string groups_line(const QuantizeFlags& flags, const QuantizationPlan& plan);
/// With --bits auto what the bits are on average, else empty.
std::string bits_line(const std::optional<BitAllocation>& allocation);

}  // namespace igq::cli
