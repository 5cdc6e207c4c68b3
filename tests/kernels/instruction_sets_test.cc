// The list of instruction sets: whole tables, names, and the choice by name.
#include "kernels/instruction_sets.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "igq/error.h"
#include "tests/kernels/byte_tables.h"
#include "tests/kernels/float_tables.h"

namespace igq::test {
using namespace kernels;

namespace {

TEST(InstructionSets, EveryOneFillsItsWholeTable) {
  for (const InstructionSet& set : instruction_sets()) {
    if (!set.supported()) continue;
    Kernels kernels{};
    ASSERT_FALSE(is_complete(kernels));
    set.fill(kernels);
    ASSERT_TRUE(is_complete(kernels)) << set.name;
  }
}

/// Emulated files fill half a table each: the other half is the reference's.
TEST(InstructionSets, EmulatedOnesFillTheirHalf) {
  for (const ByteTable& bytes : byte_tables()) {
    const FloatTable& floats = float_tables().back();
    Kernels both = bytes.kernels;
    const auto* from = reinterpret_cast<const char*>(static_cast<const KernelFunctions*>(&floats.kernels));
    auto* to = reinterpret_cast<char*>(static_cast<KernelFunctions*>(&both));
    for (std::size_t at = 0; at < sizeof(KernelFunctions); at += sizeof(void*)) {
      void* function = nullptr;
      std::memcpy(&function, to + at, sizeof function);
      if (function == nullptr) std::memcpy(to + at, from + at, sizeof function);
    }
    ASSERT_TRUE(is_complete(both)) << bytes.name << " and " << floats.name;
  }
}

TEST(InstructionSets, OneMissingKernelIsFound) {
  Kernels whole{};
  reference_set().fill(whole);
  ASSERT_TRUE(is_complete(whole));
  for (std::size_t at = 0; at < sizeof(KernelFunctions); at += sizeof(void*)) {
    Kernels kernels = whole;
    std::memset(reinterpret_cast<char*>(static_cast<KernelFunctions*>(&kernels)) + at, 0, sizeof(void*));
    ASSERT_FALSE(is_complete(kernels)) << "without the kernel at byte " << at;
  }
  Kernels kernels = whole;
  kernels.row_block = 0;
  ASSERT_FALSE(is_complete(kernels));
}

TEST(InstructionSets, NamesAreUniqueAndParsed) {
  std::set<std::string> names;
  for (const InstructionSet& set : instruction_sets()) {
    ASSERT_TRUE(names.insert(set.name).second) << set.name;
    ASSERT_GT(std::strlen(set.description), 0U) << set.name;
    if (set.supported())
      ASSERT_EQ(isa_name(parse_isa(set.name)), set.name);
    else
      ASSERT_THROW(parse_isa(set.name), Error) << set.name;
  }
  ASSERT_EQ(parse_isa("reference"), Isa::kReference);
  ASSERT_THROW(parse_isa("sse9"), Error);
}

}  // namespace
}  // namespace igq::test
