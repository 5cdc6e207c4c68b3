// The processor's name (igq/isa.h). Which instruction sets it has is found where their kernels are (src/kernels).
#include <fstream>

#include "igq/isa.h"

namespace igq {

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
