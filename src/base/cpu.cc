// Run-time detection of instruction sets (CPUID through the compiler's builtins, which also check the OS support).
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

#include "base/fail.h"
#include "igq/isa.h"

namespace igq {
namespace {

struct Entry {
  Isa isa;
  std::string_view name;
};
constexpr std::array<Entry, 6> kEntries{{{Isa::kReference, "reference"},
                                         {Isa::kAvx2, "avx2"},
                                         {Isa::kAvxVnni, "avx-vnni"},
                                         {Isa::kAvx512, "avx512"},
                                         {Isa::kAvx512Vnni, "avx512-vnni"},
                                         {Isa::kAmx, "amx"}}};

/// CPUID leaf 7, sub-leaf 1, EAX bit 4: g++ 12's __builtin_cpu_supports does not know avxvnni.
bool has_avx_vnni() {
  unsigned eax = 7, ebx = 0, ecx = 1, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (eax & (1U << 4)) != 0;
}

/// CPUID leaf 7, EDX bits 24 (tiles) and 25 (products of bytes). Linux gives a process the tile registers when it asks
/// for them; it refuses where the kernel, or the machine below it, does not keep them.
bool has_amx() {
  static const bool granted = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned kTiles = 1U << 24, kBytes = 1U << 25;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kTiles) == 0 || (edx & kBytes) == 0)
      return false;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return granted;
}

bool supported(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvxVnni:
      return avx2 && has_avx_vnni();
    case Isa::kAvx512:
      return avx512;
    case Isa::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case Isa::kAmx:
      return avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") && has_amx();
  }
  return false;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kEntries[static_cast<std::size_t>(isa)].name; }

std::vector<Isa> supported_isas() {
  std::vector<Isa> result;
  for (const Entry& e : kEntries)
    if (supported(e.isa)) result.push_back(e.isa);
  return result;
}

Isa parse_isa(std::string_view name) {
  if (name.empty() || name == "auto") return best_isa();
  const auto* entry = std::find_if(kEntries.begin(), kEntries.end(), [&](const Entry& e) { return e.name == name; });
  std::string here;
  for (Isa isa : supported_isas()) here += fmt::format("{}{}", here.empty() ? "" : ", ", isa_name(isa));
  if (entry == kEntries.end()) fail("unknown instruction set '{}': this machine runs {}", name, here);
  if (!supported(entry->isa)) fail("instruction set '{}' is not supported by this machine: it runs {}", name, here);
  return entry->isa;
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

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) {
      const auto colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  return "unknown CPU";
}

}  // namespace igq
