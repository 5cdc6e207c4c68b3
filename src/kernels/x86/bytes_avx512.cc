// The byte family on AVX-512 (F, BW, DQ, VL) without a dot instruction: as AVX2, twice as wide.
#include "kernels/x86/byte_family.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/simd512.h"

namespace igq::kernels {

void fill_byte_kernels_avx512(Kernels& table) {
  fill_byte_kernels<WideningFamily<TileShape<Simd512, 6>>>(table, {.row_block = 56, .group_align = kGroupAlign});
}

}  // namespace igq::kernels
