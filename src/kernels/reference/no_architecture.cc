// For processor architectures that have no folder here: the reference alone.
#include "kernels/instruction_sets.h"

namespace igq::kernels {

std::span<const InstructionSet> architecture_sets() { return {}; }

}  // namespace igq::kernels
