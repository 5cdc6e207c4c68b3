// Vectors of 256 bits: the vocabulary in which the generic kernels are written (generic/byte_tile.h for integers,
// generic/vec16.h for floats). Everything that is compiled per instruction set lives in an unnamed namespace, so that
// no copy can serve another set's file.
#pragma once

#include "kernels/x86/intrinsics.h"

namespace igq::kernels {
namespace {

struct Simd256 {
  using Int = __m256i;
  using Float = __m256;
  using Mask = __m256;
  static constexpr int kLanes = 8;  ///< of 32 bits

  // Sizes of the float kernels' tiles, as VecReference has them: 12 of the 16 registers hold sums.
  static constexpr int kTileRows = 6;
  static constexpr int kLockstep = 2;
  static constexpr int tile_panels(int rows) { return rows >= 4 ? 1 : rows == 3 ? 2 : rows == 2 ? 3 : 4; }

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

  static Float loadf(const float* p) { return _mm256_loadu_ps(p); }
  static void storef(float* p, Float x) { _mm256_storeu_ps(p, x); }
  static Float addf(Float x, Float y) { return _mm256_add_ps(x, y); }
  static Float subf(Float x, Float y) { return _mm256_sub_ps(x, y); }
  static Float divf(Float x, Float y) { return _mm256_div_ps(x, y); }
  static Float minf(Float x, Float y) { return _mm256_min_ps(x, y); }
  static Float maxf(Float x, Float y) { return _mm256_max_ps(x, y); }
  static Float absf(Float x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x); }
  static Float roundf(Float x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Mask lessf(Float x, Float y) { return _mm256_cmp_ps(x, y, _CMP_LT_OQ); }
  static Float selectf(Mask m, Float yes, Float no) { return _mm256_blendv_ps(no, yes, m); }
  static float sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static Int to_int(Float x) { return _mm256_cvtps_epi32(x); }
  static Int as_int(Float x) { return _mm256_castps_si256(x); }
  static Float as_float(Int x) { return _mm256_castsi256_ps(x); }
  template <int kBits>
  static Int shift_left(Int x) {
    return _mm256_slli_epi32(x, kBits);
  }
  static Float lookup(const float* table, Float shifted) {
    const __m256i index = _mm256_castps_si256(shifted);
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index),
                 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
  }

  template <__m128 (*kOp)(__m128, __m128)>
  static float reduce(Float x) {
    const __m128 four = kOp(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = kOp(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(kOp(two, _mm_shuffle_ps(two, two, 1)));
  }
  static float sum_lanes(Float x) { return reduce<_mm_add_ps>(x); }
  static float min_lane(Float x) { return reduce<_mm_min_ps>(x); }
  static float max_lane(Float x) { return reduce<_mm_max_ps>(x); }
  static std::int32_t sum_lanes(Int x) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }

  /// Sixteen lanes in [0, 255] as bytes.
  static __m128i bytes(const Int (&x)[2]) {
    const __m256i ordered = _mm256_permute4x64_epi64(_mm256_packs_epi32(x[0], x[1]), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  }
  static void store_bytes(const Int (&x)[2], std::uint8_t* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes(x));
  }
  static void store_bytes(const Int (&x)[2], std::uint8_t* p, int n) {
    alignas(16) std::uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes(x));
    for (int i = 0; i < n; ++i) p[i] = all[i];
  }

  /// The first `count` lanes only, none where it is not above 0; nothing else is touched, other lanes are 0 or `fill`.
  static Float load_first(const float* p, int count) {
    if (count >= kLanes) return _mm256_loadu_ps(p);
    return _mm256_maskload_ps(p, first(count));
  }
  static Float load_first(const float* p, int count, float fill) {
    const Int mask = first(count);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
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
