// 256-bit operations of the byte kernels, under the names that bytes_tile.h uses. Everything that is compiled per
// instruction set lives in an anonymous namespace, so that no copy can serve another set's file.
#pragma once

#include "kernels/intrinsics.h"

namespace igq::kernels {
namespace {

struct Simd256 {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kLanes = 8;  ///< of 32 bits

  static Int load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Int x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  /// The four bytes at p in every lane.
  static Int broadcast4(const void* p) {
    std::int32_t x;
    __builtin_memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
  }
  static Int zero() { return _mm256_setzero_si256(); }
  static Int ones16() { return _mm256_set1_epi16(1); }
  static Int add32(Int x, Int y) { return _mm256_add_epi32(x, y); }
  static Int multiply32(Int x, Int y) { return _mm256_mullo_epi32(x, y); }
  static Int set32(std::int32_t x) { return _mm256_set1_epi32(x); }
  static Int sub32(Int x, Int y) { return _mm256_sub_epi32(x, y); }
  // The inner loops are written as instructions: from intrinsics g++ 12 gathers all loads and products of a step first
  // and then has too few registers for the sums.
  /// h + products of unsigned bytes a and signed bytes w, two neighbours summed to 16 bits (callers exclude
  /// saturation).
  static Int multiply_bytes_add(Int h, Int a, Int w) {
    Int product;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(h), "=&x"(product) : "x"(a), "x"(w));
    return h;
  }
  static Int multiply_bytes(Int a, Int w) {
    Int product;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(a), "x"(w));
    return product;
  }
  /// s + products of 16-bit codes, two neighbours summed to 32 bits.
  static Int multiply_words_add(Int s, Int a, Int w) {
    Int product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(s), "=&x"(product) : "x"(a), "x"(w));
    return s;
  }
  static Int multiply_words(Int a, Int w) { return _mm256_madd_epi16(a, w); }
  /// The low (high) byte of every 16-bit lane, sign extended.
  static Int even_bytes(Int x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
  static Int odd_bytes(Int x) { return _mm256_srai_epi16(x, 8); }
  /// Unsigned bytes at p widened to 16 bits, as many as fill a vector.
  static Int load_widened(const std::uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Float zerof() { return _mm256_setzero_ps(); }
  static Float set1(float x) { return _mm256_set1_ps(x); }
  static Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }
  static Float fma(Float x, Float y, Float z) { return _mm256_fmadd_ps(x, y, z); }
  static Float fnma(Float x, Float y, Float z) { return _mm256_fnmadd_ps(x, y, z); }
  static Float mul(Float x, Float y) { return _mm256_mul_ps(x, y); }

  /// The first `count` lanes only; nothing else is touched.
  static Float load_first(const float* p, int count) {
    if (count >= kLanes) return _mm256_loadu_ps(p);
    return _mm256_maskload_ps(p, first(count));
  }
  static void store_first(float* p, int count, Float x) {
    if (count >= kLanes) return _mm256_storeu_ps(p, x);
    _mm256_maskstore_ps(p, first(count), x);
  }

 private:
  static Int first(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace
}  // namespace igq::kernels
