// The machine's fp32 multiply-add rate, measured beside each benchmark: on a shared machine only ratios mean something.
#pragma once

#include <cstdint>
#include <ctime>

#include "igq/isa.h"

namespace igq::bench {

/// CPU time of this thread in seconds: other processes that share the core do not count.
inline double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Runs at least `flops` floating point operations as independent register-only FMA of the widest vectors `isa` has
/// (AVX2 for the reference too); returns the seconds per operation.
double fma_seconds_per_flop(Isa isa, std::int64_t flops);

}  // namespace igq::bench
