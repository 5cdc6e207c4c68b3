// The byte family on AVX2 without a dot instruction.
#include "kernels/x86/byte_family.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/simd256.h"

namespace igq::kernels {

void fill_byte_kernels_avx2(Kernels& table) {
  fill_byte_kernels<WideningFamily<TileShape<Simd256, 6>>>(table, {.row_block = 56, .group_align = kGroupAlign});
}

}  // namespace igq::kernels
