// The list of instruction sets, their tables, and the choice among them (igq/isa.h).
#include "kernels/instruction_sets.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <string>

#include "base/fail.h"

namespace igq {
namespace kernels {

std::span<const InstructionSet> instruction_sets() {
  static const std::vector<InstructionSet> all = [] {
    std::vector<InstructionSet> result{reference_set()};
    for (const InstructionSet& set : architecture_sets()) result.push_back(set);
    return result;
  }();
  return all;
}

bool is_complete(const Kernels& kernels) {
  constexpr std::size_t kPointers = sizeof(KernelFunctions) / sizeof(void (*)());
  static_assert(sizeof(KernelFunctions) == kPointers * sizeof(void (*)()));
  const auto pointers =
      std::bit_cast<std::array<std::uintptr_t, kPointers>>(static_cast<const KernelFunctions&>(kernels));
  for (const std::uintptr_t p : pointers)
    if (p == 0) return false;
  return kernels.row_block > 0 && kernels.group_align > 0;
}

/// Tables of what this machine runs only: a function that fills a table is itself compiled for its instruction set.
const Kernels& kernels_for(Isa isa) {
  static const std::vector<Kernels> tables = [] {
    std::vector<Kernels> result;
    for (const InstructionSet& set : instruction_sets()) {
      result.push_back(Kernels{});
      if (!set.supported()) continue;
      set.fill(result.back());
      assert(is_complete(result.back()));
    }
    return result;
  }();
  const auto index = static_cast<std::size_t>(isa);
  assert(index < tables.size() && instruction_sets()[index].supported());
  return tables[index];
}

}  // namespace kernels

using kernels::instruction_sets;
using kernels::InstructionSet;

std::string_view isa_name(Isa isa) { return instruction_sets()[static_cast<std::size_t>(isa)].name; }

std::vector<Isa> supported_isas() {
  std::vector<Isa> result;
  for (std::size_t i = 0; i < instruction_sets().size(); ++i)
    if (instruction_sets()[i].supported()) result.push_back(static_cast<Isa>(i));
  return result;
}

std::string isa_names() {
  std::string names;
  for (const InstructionSet& set : instruction_sets())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", set.name);
  return names;
}

Isa parse_isa(std::string_view name) {
  if (name.empty() || name == "auto") return best_isa();
  std::string here;
  for (const Isa isa : supported_isas()) here += fmt::format("{}{}", here.empty() ? "" : ", ", isa_name(isa));
  for (std::size_t i = 0; i < instruction_sets().size(); ++i) {
    const InstructionSet& set = instruction_sets()[i];
    if (set.name != name) continue;
    if (!set.supported())
      fail("instruction set '{}' ({}) is not supported by this machine: it runs {}", name, set.description, here);
    return static_cast<Isa>(i);
  }
  fail("unknown instruction set '{}': this machine runs {}", name, here);
}

/// IGQ_ISA in the environment forces the choice, so that whole test suites run on each instruction set.
Isa best_isa() {
  static const Isa best = [] {
    const char* forced = std::getenv("IGQ_ISA");
    if (forced == nullptr || *forced == '\0' || std::string_view(forced) == "auto") return supported_isas().back();
    try {
      return parse_isa(forced);
    } catch (const Error& e) {
      fail("IGQ_ISA in the environment: {}", e.what());
    }
  }();
  return best;
}

}  // namespace igq
