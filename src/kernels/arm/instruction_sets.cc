// Instruction sets of 64-bit ARM and how they are found at run time: by what the operating system says of the
// processor. Compiled without flags of any instruction set; NEON itself is part of the architecture.
#include "kernels/instruction_sets.h"

#include "kernels/arm/fill.h"

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace igq::kernels {
namespace {

#if defined(__linux__)
// Of asm/hwcap.h, whose older copies lack the second.
constexpr unsigned long kDotProducts = 1UL << 20;   // HWCAP_ASIMDDP
constexpr unsigned long kByteMatrices = 1UL << 13;  // HWCAP2_I8MM

bool has_dotprod() noexcept { return (getauxval(AT_HWCAP) & kDotProducts) != 0; }
bool has_i8mm() noexcept { return has_dotprod() && (getauxval(AT_HWCAP2) & kByteMatrices) != 0; }
#elif defined(__APPLE__)
bool has_feature(const char* name) noexcept {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dotprod() noexcept { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() noexcept { return has_dotprod() && has_feature("hw.optional.arm.FEAT_I8MM"); }
#else
bool has_dotprod() noexcept { return false; }
bool has_i8mm() noexcept { return false; }
#endif

bool has_neon() noexcept { return true; }

/// Float kernels, then byte kernels.
template <void (*kFillBytes)(Kernels&)>
void fill(Kernels& table) {
  fill_float_kernels_neon(table);
  kFillBytes(table);
}

constexpr InstructionSet kSets[] = {
    {"neon", "128-bit vectors", has_neon, fill<fill_byte_kernels_neon>},
    {"neon-dotprod", "128-bit vectors with the dot product of bytes sdot", has_dotprod,
     fill<fill_byte_kernels_neon_dotprod>},
    {"neon-i8mm", "128-bit vectors with the matrix product of bytes usmmla", has_i8mm,
     fill<fill_byte_kernels_neon_i8mm>},
};

}  // namespace

std::span<const InstructionSet> architecture_sets() { return kSets; }

}  // namespace igq::kernels
