#include "speed.h"

#include <fmt/format.h>

#include "common.h"
#include "list_flags.h"

namespace igq::cli {

void SpeedGate::add_to(CLI::App& app) {
  app.add_option("--min-speedup", least,
                 "exit with code 3 when integers are not so many times as fast as float on this machine, measured\n"
                 "in turn in this run (1: never slower)")
      ->check(number_in(0.0, 1e6));
}

void SpeedGate::judge(double speedup, int& exit_code) const {
  if (speedup < 1.0)
    note(
        fmt::format("igq: WARNING: integers are slower than float on this machine, {:.2f} times as fast: run the float "
                    "model here, or try other --bits; integers pay where the processor has a product of bytes",
                    speedup));
  if (!wanted() || speedup >= least) return;
  note(fmt::format("igq: integers are {:.2f} times as fast as float, less than --min-speedup {}", speedup, least));
  exit_code = kGateNotMet;
}

std::string speed_text(const SpeedOnThisMachine& speed, Isa isa) {
  return fmt::format("integers run {:.2f} times as fast as float ({}, {}, {} thread{})", speed.ratio, cpu_name(),
                     isa_name(isa), speed.threads, speed.threads == 1 ? "" : "s");
}

}  // namespace igq::cli
