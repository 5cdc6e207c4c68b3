// Instruction sets igq has kernels for, and which of them this machine runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace igq {

/// In ascending order of preference. Every one of them gives bit-identical results.
enum class Isa { kReference, kAvx2, kAvxVnni, kAvx512, kAvx512Vnni, kAmx };

/// "reference", "avx2", "avx-vnni", "avx512", "avx512-vnni", "amx".
std::string_view isa_name(Isa isa);
/// The inverse of isa_name; "auto" and "" give best_isa(). Throws Error for an unknown name and for an instruction
/// set this machine does not run (the text lists those it runs).
Isa parse_isa(std::string_view name);
/// Built into this library and supported by this processor and operating system, ascending.
std::vector<Isa> supported_isas();
Isa best_isa();
/// The processor's name as it reports it, for printed tables.
std::string cpu_name();

}  // namespace igq
