// The cache of measured layers: any file is read, lines that say nothing sound are left out, and what is found has
// candidates with finite numbers; or it is an Error.
#include <cmath>

#include "allocation/perturbation_cache.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  static fuzz::MemoryFile file;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const PerturbationCache cache(file.with(bytes));
    const SitePerturbation* found = cache.find("k", "head");
    if (found == nullptr) return;
    if (found->candidates.empty() || found->site != "head") std::abort();
    for (const GroupCandidate& c : found->candidates)
      if (c.groups < 1 || !std::isfinite(c.error) || !std::isfinite(c.measured) || c.divergence < 0.0) std::abort();
  });
  return 0;
}
