#include "tests/kernels/byte_tables.h"

#include "kernels/instruction_sets.h"

#ifdef IGQ_TEST_EMULATED_AVX512
namespace igq::kernels {
void fill_byte_kernels_avx_vnni_emulated(Kernels& table);
void fill_byte_kernels_avx512_emulated(Kernels& table);
void fill_byte_kernels_avx512_vnni_emulated(Kernels& table);
void fill_byte_kernels_amx_emulated(Kernels& table);
}  // namespace igq::kernels
#endif

namespace igq::test {
using namespace kernels;

const std::vector<ByteTable>& byte_tables() {
  static const std::vector<ByteTable> tables = [] {
    std::vector<ByteTable> result;
    for (const InstructionSet& set : instruction_sets()) {
      if (!set.supported()) continue;
      result.push_back({set.name, Kernels{}});
      set.fill(result.back().kernels);
    }
#ifdef IGQ_TEST_EMULATED_AVX512
    const auto add = [&](std::string name, auto fill) {
      result.push_back({std::move(name), Kernels{}});
      fill(result.back().kernels);
    };
    if (result.size() > 1) {  // the emulation itself needs AVX2
      add("avx_vnni_emulated", fill_byte_kernels_avx_vnni_emulated);
      add("avx512_emulated", fill_byte_kernels_avx512_emulated);
      add("avx512_vnni_emulated", fill_byte_kernels_avx512_vnni_emulated);
      add("amx_emulated", fill_byte_kernels_amx_emulated);
    }
#endif
    return result;
  }();
  return tables;
}

}  // namespace igq::test
