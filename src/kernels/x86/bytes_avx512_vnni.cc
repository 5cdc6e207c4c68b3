// The byte family on AVX-512 with the dot instruction (vpdpbusd).
//
// A tile is 7 rows by 32 columns: 14 integer and 14 float sums, two vectors of weights and one of codes fill 31 of the
// 32 registers, so that a group ends with a conversion and an fma per sum and touches no memory.
#include "kernels/x86/byte_family.h"
#include "kernels/x86/bytes_pack512.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/simd512_vnni.h"

namespace igq::kernels {

void fill_byte_kernels_avx512_vnni(Kernels& table) {
  using Product = Gemm<Dot<TileShape<Simd512Vnni, 7>>>;
  fill_byte_kernels<ByteFamily<Pack512<Simd512Vnni>, Product>>(table, {.row_block = 56, .group_align = kGroupAlign});
}

}  // namespace igq::kernels
