// Instruction sets igq has kernels for, and which of them this machine runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace igq {

/// One of the instruction sets built into this library, in ascending order of preference. Every one of them gives
/// bit-identical results. Which there are depends on the processor architecture; only the reference, plain C++, is
/// everywhere, so others are named by parse_isa("avx2").
enum class Isa : int { kReference = 0 };

/// e.g. "reference", "avx2", "avx512-vnni".
std::string_view isa_name(Isa isa);
/// The names of all that are built in, separated by commas.
std::string isa_names();
/// The inverse of isa_name; "auto" and "" give best_isa(). Throws Error for an unknown name and for an instruction
/// set this machine does not run (the text lists those it runs).
Isa parse_isa(std::string_view name);
/// Built into this library and supported by this processor and operating system, ascending.
std::vector<Isa> supported_isas();
Isa best_isa();
/// The processor's name as it reports it, for printed tables.
std::string cpu_name();

}  // namespace igq
