// 512-bit operations of the byte kernels, under the names that bytes_tile.h uses.
#pragma once

#include "kernels/intrinsics.h"

namespace igq::kernels {
namespace {

struct Simd512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kLanes = 16;  ///< of 32 bits

  static Int load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Int x) { _mm512_storeu_si512(p, x); }
  /// The four bytes at p in every lane.
  static Int broadcast4(const void* p) {
    std::int32_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
  }
  static Int ones16() { return _mm512_set1_epi16(1); }
  static Int add32(Int x, Int y) { return _mm512_add_epi32(x, y); }
  static Int sub32(Int x, Int y) { return _mm512_sub_epi32(x, y); }
  static Int multiply32(Int x, Int y) { return _mm512_mullo_epi32(x, y); }
  static Int shift_left_8(Int x) { return _mm512_slli_epi32(x, 8); }
  static Int set32(std::int32_t x) { return _mm512_set1_epi32(x); }
  /// h + products of unsigned bytes a and signed bytes w, two neighbours summed to 16 bits (callers exclude
  /// saturation).
  static Int multiply_bytes_add(Int h, Int a, Int w) { return _mm512_add_epi16(h, multiply_bytes(a, w)); }
  static Int multiply_bytes(Int a, Int w) { return _mm512_maddubs_epi16(a, w); }
  /// s + products of 16-bit codes, two neighbours summed to 32 bits.
  static Int multiply_words_add(Int s, Int a, Int w) { return add32(s, multiply_words(a, w)); }
  static Int multiply_words(Int a, Int w) { return _mm512_madd_epi16(a, w); }
  /// Unsigned bytes at p widened to 16 bits, as many as fill a vector.
  static Int load_widened(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  static Float loadf(const float* p) { return _mm512_loadu_ps(p); }
  static void storef(float* p, Float x) { _mm512_storeu_ps(p, x); }
  static Float zerof() { return _mm512_setzero_ps(); }
  static Float set1(float x) { return _mm512_set1_ps(x); }
  static Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }
  static Float fma(Float x, Float y, Float z) { return _mm512_fmadd_ps(x, y, z); }
  static Float fnma(Float x, Float y, Float z) { return _mm512_fnmadd_ps(x, y, z); }
  static Float mul(Float x, Float y) { return _mm512_mul_ps(x, y); }

  /// The first `count` lanes only; nothing else is touched.
  static Float load_first(const float* p, int count) { return load_lanes(p, first_lanes(count)); }
  static void store_first(float* p, int count, Float x) { store_lanes(p, first_lanes(count), x); }

  using Lanes = __mmask16;
  static Lanes first_lanes(int count) { return static_cast<Lanes>(count >= kLanes ? 0xFFFFU : (1U << count) - 1U); }
  static Float load_lanes(const float* p, Lanes lanes) { return _mm512_mask_loadu_ps(_mm512_setzero_ps(), lanes, p); }
  static void store_lanes(float* p, Lanes lanes, Float x) { _mm512_mask_storeu_ps(p, lanes, x); }
};

}  // namespace
}  // namespace igq::kernels
