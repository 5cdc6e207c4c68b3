// Instruction sets as objects, in one list: the reference, then those of the processor architecture that CMake chose.
#pragma once

#include <span>

#include "kernels/table.h"

namespace igq::kernels {

struct InstructionSet {
  const char* name;              ///< as --isa takes it, e.g. "avx512-vnni"
  const char* description;       ///< what it has that the one before it lacks
  bool (*supported)() noexcept;  ///< by this processor and operating system
  void (*fill)(Kernels& table);  ///< fills the whole table; called where it is supported only
};

/// All that are built in, in ascending order of preference, the reference first. An Isa is an index into this list.
std::span<const InstructionSet> instruction_sets();

/// reference/instruction_set.cc
InstructionSet reference_set();
/// The list of the architecture's folder (<architecture>/instruction_sets.cc), ascending; reference/no_architecture.cc
/// has none, for processors that have no folder yet.
std::span<const InstructionSet> architecture_sets();

}  // namespace igq::kernels
