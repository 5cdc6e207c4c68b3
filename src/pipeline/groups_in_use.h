// How many groups the layers of a plan really have: integer scales up to 5 bits take every multiple that fits a byte,
// whatever was asked for, at 6 to 8 bits often fewer, and clusters of few distinct points coincide.
#pragma once

#include <string>

#include "quant/plan.h"

namespace igq {

/// Of the FC inputs whose channels are grouped (igq, scale, static-group) and have more than one row; 0, 0 when none
/// is.
struct GroupsInUse {
  int least = 0, most = 0;
};

/// Different quantizers of an FC input or softmax; 0 for one per channel or row, and for float.
int groups_in_use(const ActivationPlan& plan);
GroupsInUse groups_in_use(const QuantizationPlan& plan);

/// "8", "8 (2-5 used)"; `asked` "" or "-": "17-25 used"; as `asked` where nothing is grouped.
std::string groups_text(const std::string& asked, GroupsInUse used);

}  // namespace igq
