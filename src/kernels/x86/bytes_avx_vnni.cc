// The byte family on AVX2 with the 256-bit dot instruction (vpdpbusd in VEX encoding).
#include "kernels/x86/byte_family.h"
#include "kernels/x86/fill.h"
#include "kernels/x86/simd256.h"

namespace igq::kernels {
namespace {

struct Simd : Simd256 {
  static Int dot(Int s, Int a, Int w) {
#ifdef IGQ_EMULATE_AVX512
    return _mm256_dpbusd_avx_epi32(s, a, w);
#else
    // As _mm256_dpbusd_avx_epi32, for which g++ 12 copies every sum to another register and back in each step.
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(s) : "x"(a), "x"(w));
    return s;
#endif
  }
};

}  // namespace

void fill_byte_kernels_avx_vnni(Kernels& table) {
  using Shape = TileShape<Simd, 6>;
  fill_byte_kernels<ByteFamily<Pack256<Shape::kPartColumns, false>, Gemm<Dot<Shape>>>>(
      table, {.row_block = 56, .group_align = kGroupAlign});
}

}  // namespace igq::kernels
