// Instruction sets of x86 and how they are found at run time: by CPUID through the compiler's builtins, which also ask
// whether the operating system keeps the registers. Compiled without flags of any instruction set.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/instruction_sets.h"
#include "kernels/x86/fill.h"

namespace igq::kernels {
namespace {

bool has_avx2() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/// CPUID leaf 7, sub-leaf 1, EAX bit 4: g++ 12's __builtin_cpu_supports does not know avxvnni.
bool has_avx_vnni() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1U << 4)) != 0;
}

bool has_avx512() noexcept {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_vnni() noexcept { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

/// CPUID leaf 7, EDX bits 24 (tiles) and 25 (products of bytes). Linux gives a process the tile registers when it asks
/// for them; it refuses where the kernel, or the machine below it, does not keep them.
bool has_amx() noexcept {
  static const bool granted = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned kTiles = 1U << 24, kBytes = 1U << 25;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kTiles) == 0 || (edx & kBytes) == 0)
      return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return has_avx512_vnni() && __builtin_cpu_supports("avx512vbmi") && granted;
}

/// Float kernels, then byte kernels.
template <void (*kFillFloats)(Kernels&), void (*kFillBytes)(Kernels&)>
void fill(Kernels& table) {
  kFillFloats(table);
  kFillBytes(table);
}

constexpr InstructionSet kSets[] = {
    {"avx2", "256-bit vectors with fused multiply-add", has_avx2,
     fill<fill_float_kernels_avx2, fill_byte_kernels_avx2>},
    {"avx-vnni", "256-bit vectors with the product of bytes vpdpbusd", has_avx_vnni,
     fill<fill_float_kernels_avx2, fill_byte_kernels_avx_vnni>},
    {"avx512", "512-bit vectors: AVX-512 F, BW, DQ and VL", has_avx512,
     fill<fill_float_kernels_avx512, fill_byte_kernels_avx512>},
    {"avx512-vnni", "512-bit vectors with the product of bytes vpdpbusd", has_avx512_vnni,
     fill<fill_float_kernels_avx512, fill_byte_kernels_avx512_vnni>},
    {"amx", "tile registers with products of bytes, and AVX-512 VNNI and VBMI", has_amx,
     fill<fill_float_kernels_avx512, fill_byte_kernels_amx>},
};

}  // namespace

std::span<const InstructionSet> architecture_sets() { return kSets; }

}  // namespace igq::kernels
