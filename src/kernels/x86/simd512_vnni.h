// 512-bit operations of the byte kernels with the dot instruction (vpdpbusd): products on AVX-512 VNNI, packing there
// and on AMX.
#pragma once

#include "kernels/x86/simd512.h"

namespace igq::kernels {
namespace {

struct Simd512Vnni : Simd512 {
  /// s + products of unsigned bytes a and signed bytes w, four neighbours summed to 32 bits.
  static Int dot(Int s, Int a, Int w) {
#ifdef IGQ_EMULATE_AVX512
    return _mm512_dpbusd_epi32(s, a, w);
#else
    // As _mm512_dpbusd_epi32, for which g++ 12 copies every sum to another register and back in each step.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(a), "v"(w));
    return s;
#endif
  }
};

}  // namespace
}  // namespace igq::kernels
