#include "tests/kernels/byte_tables.h"

#include "kernels/kernels_internal.h"

#ifdef IGQ_TEST_EMULATED_AVX512
namespace igq::kernels {
void fill_byte_kernels_avx_vnni_emulated(Kernels& table);
void fill_byte_kernels_avx512_emulated(Kernels& table);
void fill_byte_kernels_avx512_vnni_emulated(Kernels& table);
void fill_byte_kernels_amx_emulated(Kernels& table);
}  // namespace igq::kernels
#endif

namespace igq::kernels::testing {

const std::vector<ByteTable>& byte_tables() {
  static const std::vector<ByteTable> tables = [] {
    std::vector<ByteTable> result;
    const auto add = [&](std::string name, auto fill) {
      result.push_back({std::move(name), Kernels{}});
      fill(result.back().kernels);
    };
    for (Isa isa : supported_isas()) switch (isa) {
        case Isa::kReference:
          add("reference", fill_byte_kernels_reference);
          break;
        case Isa::kAvx2:
          add("avx2", fill_byte_kernels_avx2);
          break;
        case Isa::kAvxVnni:
          add("avx_vnni", fill_byte_kernels_avx_vnni);
          break;
        case Isa::kAvx512:
          add("avx512", fill_byte_kernels_avx512);
          break;
        case Isa::kAvx512Vnni:
          add("avx512_vnni", fill_byte_kernels_avx512_vnni);
          break;
        case Isa::kAmx:
          add("amx", fill_byte_kernels_amx);
          break;
      }
#ifdef IGQ_TEST_EMULATED_AVX512
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

}  // namespace igq::kernels::testing
