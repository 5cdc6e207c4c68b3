#include "tests/kernels/float_tables.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "base/random.h"
#include "kernels/instruction_sets.h"

#ifdef IGQ_TEST_EMULATED_AVX512
namespace igq::kernels {
void fill_float_kernels_avx512_emulated(Kernels& table);
}
#endif

namespace igq::test {
using namespace kernels;

const std::vector<FloatTable>& float_tables() {
  static const std::vector<FloatTable> tables = [] {
    std::vector<FloatTable> result;
    for (const InstructionSet& set : instruction_sets()) {
      if (!set.supported()) continue;
      Kernels kernels{};
      set.fill(kernels);
      // Sets that differ in their byte kernels alone are tested once.
      if (result.empty() || kernels.gemm_f32 != result.back().kernels.gemm_f32) result.push_back({set.name, kernels});
    }
#ifdef IGQ_TEST_EMULATED_AVX512
    if (result.size() > 1) {  // the emulation itself needs AVX2
      result.push_back({"avx512 (emulated)", Kernels{}});
      fill_float_kernels_avx512_emulated(result.back().kernels);
    }
#endif
    return result;
  }();
  return tables;
}

template <typename T>
Guarded<T>::Guarded(std::size_t count, T fill) : size_(count) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t used = (count * sizeof(T) + page - 1) / page * page;
  map_bytes_ = used + page;
  map_ = mmap(nullptr, map_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map_ == MAP_FAILED || mprotect(static_cast<char*>(map_) + used, page, PROT_NONE) != 0)
    throw std::runtime_error("mmap");
  data_ = reinterpret_cast<T*>(static_cast<char*>(map_) + used - count * sizeof(T));
  std::fill_n(data_, count, fill);
}
template <typename T>
Guarded<T>::~Guarded() {
  munmap(map_, map_bytes_);
}
template class Guarded<float>;
template class Guarded<std::uint8_t>;

Floats random_floats(std::size_t count, std::uint64_t seed, double sigma) {
  Random random(seed);
  Floats result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<float>(sigma * random.normal());
  return result;
}

void expect_same_bits(const Floats& expected, const Floats& actual, const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected[i]), std::bit_cast<std::uint32_t>(actual[i]))
        << what << ": value " << i << ": " << expected[i] << " and " << actual[i];
  }
}

}  // namespace igq::test
