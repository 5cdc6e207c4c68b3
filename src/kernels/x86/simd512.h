// Vectors of 512 bits, under the names of simd256.h.
#pragma once

#include "kernels/x86/simd256.h"

namespace igq::kernels {
namespace {

struct Simd512 {
  using Int = __m512i;
  using Float = __m512;
  using Mask = __mmask16;
  static constexpr int kLanes = 16;  ///< of 32 bits

  // 28 of the 32 registers hold sums.
  static constexpr int kTileRows = 14;
  static constexpr int kLockstep = 4;
  static constexpr int tile_panels(int rows) { return rows >= 4 ? 2 : 4; }

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
  template <int kBits>
  static Int shift_left(Int x) {
    return _mm512_slli_epi32(x, kBits);
  }
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

  static Float addf(Float x, Float y) { return _mm512_add_ps(x, y); }
  static Float subf(Float x, Float y) { return _mm512_sub_ps(x, y); }
  static Float divf(Float x, Float y) { return _mm512_div_ps(x, y); }
  static Float minf(Float x, Float y) { return _mm512_min_ps(x, y); }
  static Float maxf(Float x, Float y) { return _mm512_max_ps(x, y); }
  static Float absf(Float x) { return _mm512_abs_ps(x); }
  static Float roundf(Float x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Mask lessf(Float x, Float y) { return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ); }
  static Float selectf(Mask m, Float yes, Float no) { return _mm512_mask_blend_ps(m, no, yes); }
  static float sqrt(float x) { return Simd256::sqrt(x); }
  static Int to_int(Float x) { return _mm512_cvtps_epi32(x); }
  static Int as_int(Float x) { return _mm512_castps_si512(x); }
  static Float as_float(Int x) { return _mm512_castsi512_ps(x); }
  static Float lookup(const float* table, Float shifted) {
    return _mm512_permutexvar_ps(_mm512_castps_si512(shifted), _mm512_load_ps(table));
  }

  static __m256 low(Float x) { return _mm512_castps512_ps256(x); }
  static __m256 high(Float x) { return _mm512_extractf32x8_ps(x, 1); }
  static float sum_lanes(Float x) { return Simd256::sum_lanes(_mm256_add_ps(low(x), high(x))); }
  static float min_lane(Float x) { return Simd256::min_lane(_mm256_min_ps(low(x), high(x))); }
  static float max_lane(Float x) { return Simd256::max_lane(_mm256_max_ps(low(x), high(x))); }
  static std::int32_t sum_lanes(Int x) {
    const __m256 halves[2] = {low(as_float(x)), high(as_float(x))};
    return Simd256::sum_lanes(_mm256_add_epi32(_mm256_castps_si256(halves[0]), _mm256_castps_si256(halves[1])));
  }

  static __m128i bytes(Int x) { return _mm512_cvtepi32_epi8(x); }
  static void store_bytes(const Int (&x)[1], std::uint8_t* p) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes(x[0]));
  }
  static void store_bytes(const Int (&x)[1], std::uint8_t* p, int n) {
    _mm_mask_storeu_epi8(p, first_lanes(n), bytes(x[0]));
  }

  static Float load_first(const float* p, int count) { return load_lanes(p, first_lanes(count)); }
  static Float load_first(const float* p, int count, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(count), p);
  }
  static void store_first(float* p, int count, Float x) { store_lanes(p, first_lanes(count), x); }

  using Lanes = __mmask16;
  static Lanes first_lanes(int count) { return static_cast<Lanes>(count >= kLanes ? 0xFFFFU : (1U << count) - 1U); }
  static Float load_lanes(const float* p, Lanes lanes) { return _mm512_mask_loadu_ps(_mm512_setzero_ps(), lanes, p); }
  static void store_lanes(float* p, Lanes lanes, Float x) { _mm512_mask_storeu_ps(p, lanes, x); }
};

}  // namespace
}  // namespace igq::kernels
