// The processor's name (igq/isa.h). Which instruction sets it has is found where their kernels are (src/kernels).
#include "base/cpu.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>
#include <utility>

#include "igq/isa.h"

namespace igq {
namespace {

/// Numbers of Arm's cores (MIDR_EL1.PartNum), as its manuals give them: 64-bit ones that igq is likely to meet.
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kArmCores{{{"0xd03", "Cortex-A53"},
                                                                                   {"0xd05", "Cortex-A55"},
                                                                                   {"0xd07", "Cortex-A57"},
                                                                                   {"0xd08", "Cortex-A72"},
                                                                                   {"0xd09", "Cortex-A73"},
                                                                                   {"0xd0b", "Cortex-A76"},
                                                                                   {"0xd0c", "Neoverse N1"},
                                                                                   {"0xd40", "Neoverse V1"},
                                                                                   {"0xd41", "Cortex-A78"},
                                                                                   {"0xd46", "Cortex-A510"},
                                                                                   {"0xd47", "Cortex-A710"},
                                                                                   {"0xd49", "Neoverse N2"},
                                                                                   {"0xd4d", "Cortex-A715"},
                                                                                   {"0xd4f", "Neoverse V2"},
                                                                                   {"0xd81", "Cortex-A720"},
                                                                                   {"0xd8e", "Neoverse N3"}}};

/// What follows ": " in the first line that begins with `key`.
std::string value_of(std::string_view cpuinfo, std::string_view key) {
  while (!cpuinfo.empty()) {
    const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
    const std::size_t colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string_view::npos) return std::string(line.substr(colon + 2));
    cpuinfo.remove_prefix(std::min(line.size() + 1, cpuinfo.size()));
  }
  return {};
}

}  // namespace

std::string cpu_name_in(std::string_view cpuinfo) {
  if (const std::string model = value_of(cpuinfo, "model name"); !model.empty()) return model;
  const std::string maker = value_of(cpuinfo, "CPU implementer"), part = value_of(cpuinfo, "CPU part");
  if (maker.empty() || part.empty()) return "unknown CPU";
  const auto core = std::find_if(kArmCores.begin(), kArmCores.end(), [&](const auto& c) { return c.first == part; });
  if (maker == "0x41" && core != kArmCores.end()) return "Arm " + std::string(core->second);
  return "ARM processor of maker " + maker + ", part " + part;
}

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  return cpu_name_in(std::string(std::istreambuf_iterator<char>(in), {}));
}

}  // namespace igq
