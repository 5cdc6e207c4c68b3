// What loading an .igq file takes until the first image can run, phase by phase: the first time, least and median over
// the repetitions. The file is in the cache of the system after the first one.
//   bench_load MODEL.igq [repetitions]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "igq/isa.h"
#include "models/load_model.h"

namespace {

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void print(const char* name, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  fmt::print("{:<10} least {:6.1f} ms, median {:6.1f} ms\n", name, ms.front(), ms[ms.size() / 2]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("bench_load MODEL.igq [repetitions]\n", stderr);
    return 2;
  }
  try {
    const int repetitions = argc > 2 ? std::max(1, std::atoi(argv[2])) : 20;
    std::vector<double> read, prepared, total;
    for (int i = 0; i < repetitions; ++i) {
      const double start = now();
      igq::LoadedModel model = igq::load_model(argv[1]);
      const double loaded = now();
      model.prepare_only(igq::Execution::kInteger, igq::kernels::kernels_for(igq::best_isa()));
      const double end = now();
      read.push_back(loaded - start);
      prepared.push_back(end - loaded);
      total.push_back(end - start);
    }
    fmt::print("first      {:6.1f} ms\n", total.front());
    print("reading", read);
    print("preparing", prepared);
    print("both", total);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_load: {}\n", e.what());
    return 1;
  }
}
