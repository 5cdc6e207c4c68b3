// Whether integers pay on this machine: `bench` and `quantize` say so in a line, and --min-speedup makes it a
// condition.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "igq/isa.h"

namespace igq::cli {

struct SpeedOnThisMachine {
  double ratio = 1.0;  ///< integers over float
  int threads = 0;
};

struct SpeedGate {
  double least = -1.0;  ///< --min-speedup; below 0: none

  void add_to(CLI::App& app);
  bool wanted() const { return least >= 0.0; }
  /// A warning on stderr where integers are slower than float; kGateNotMet where they are not `least` times as fast.
  void judge(double speedup, int& exit_code) const;
};

/// "integers run 2.31 times as fast as float (CPU, avx512-vnni, 2 threads)".
std::string speed_text(const SpeedOnThisMachine& speed, Isa isa);

}  // namespace igq::cli
