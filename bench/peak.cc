// The machine's rate of byte products, all threads together: bench_peak [threads] [instruction set]. One JSON document.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "bench/byte_peak.h"
#include "igq/error.h"

int main(int argc, char** argv) try {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const igq::Isa isa = igq::parse_isa(argc > 2 ? argv[2] : "auto");
  if (threads < 1 || threads > 1024) {
    std::fprintf(stderr, "usage: bench_peak [threads] [instruction set]\n");
    return 2;
  }
  // The best of some rounds in which all threads run at once; each knows its own processor time.
  double best = 0.0;
  for (int round = 0; round < 20; ++round) {
    std::vector<double> rates(static_cast<std::size_t>(threads));
    std::vector<std::thread> workers;
    for (double& rate : rates)
      workers.emplace_back([&rate, isa] { rate = 1.0 / igq::bench::byte_seconds_per_product(isa, 2'000'000'000); });
    for (std::thread& worker : workers) worker.join();
    double total = 0.0;
    for (const double rate : rates) total += rate;
    best = std::max(best, total);
  }
  std::printf("{\"isa\": \"%s\", \"threads\": %d, \"products_per_second\": %.4g}\n",
              std::string(igq::isa_name(isa)).c_str(), threads, best);
} catch (const igq::Error& e) {
  std::fprintf(stderr, "bench_peak: error: %s\n", e.what());
  return 1;
}
