// vec16.h with one zmm register.
#pragma once

#include "kernels/intrinsics.h"

namespace igq::kernels {
namespace {

struct VecAvx512 {
  // 28 of the 32 registers hold sums.
  static constexpr int kTileRows = 14;
  static constexpr int kLockstep = 4;
  static constexpr int tile_panels(int rows) { return rows >= 4 ? 2 : 4; }

  using Mask = __mmask16;
  __m512 v;

  static __mmask16 lane_mask(int n) { return static_cast<__mmask16>((1U << n) - 1U); }

  static VecAvx512 splat(float x) { return {_mm512_set1_ps(x)}; }
  static VecAvx512 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static VecAvx512 load_part(const float* p, int n, float fill = 0) {
    return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), lane_mask(n), p)};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_part(float* p, int n) const { _mm512_mask_storeu_ps(p, lane_mask(n), v); }
  __m128i bytes() const { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)); }
  void store_bytes(std::uint8_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes()); }
  void store_bytes_part(std::uint8_t* p, int n) const { _mm_mask_storeu_epi8(p, lane_mask(n), bytes()); }
  std::int32_t integer_sum() const {
    const __m256i eight = _mm256_add_epi32(_mm256_cvtps_epi32(low()), _mm256_cvtps_epi32(high()));
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }

  friend VecAvx512 operator+(VecAvx512 x, VecAvx512 y) { return {_mm512_add_ps(x.v, y.v)}; }
  friend VecAvx512 operator-(VecAvx512 x, VecAvx512 y) { return {_mm512_sub_ps(x.v, y.v)}; }
  friend VecAvx512 operator*(VecAvx512 x, VecAvx512 y) { return {_mm512_mul_ps(x.v, y.v)}; }
  friend VecAvx512 operator/(VecAvx512 x, VecAvx512 y) { return {_mm512_div_ps(x.v, y.v)}; }
  static VecAvx512 fma(VecAvx512 x, VecAvx512 y, VecAvx512 z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
  static VecAvx512 fnma(VecAvx512 x, VecAvx512 y, VecAvx512 z) { return {_mm512_fnmadd_ps(x.v, y.v, z.v)}; }
  static VecAvx512 min(VecAvx512 x, VecAvx512 y) { return {_mm512_min_ps(x.v, y.v)}; }
  static VecAvx512 max(VecAvx512 x, VecAvx512 y) { return {_mm512_max_ps(x.v, y.v)}; }
  static VecAvx512 abs(VecAvx512 x) { return {_mm512_abs_ps(x.v)}; }
  static VecAvx512 round(VecAvx512 x) {
    return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Mask less(VecAvx512 x, VecAvx512 y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ); }
  static VecAvx512 select(Mask m, VecAvx512 yes, VecAvx512 no) { return {_mm512_mask_blend_ps(m, no.v, yes.v)}; }
  static VecAvx512 lookup(const float* table, VecAvx512 shifted) {
    return {_mm512_permutexvar_ps(_mm512_castps_si512(shifted.v), _mm512_load_ps(table))};
  }
  static VecAvx512 lookup_exp2(const float* table, VecAvx512 shifted) {
    const __m512i sixteenths = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 19);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(lookup(table, shifted).v), sixteenths))};
  }

  __m256 low() const { return _mm512_castps512_ps256(v); }
  __m256 high() const { return _mm512_extractf32x8_ps(v, 1); }
  template <__m128 (*kAdd)(__m128, __m128)>
  static float reduce8(__m256 x) {
    const __m128 four = kAdd(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = kAdd(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(kAdd(two, _mm_shuffle_ps(two, two, 1)));
  }
  float sum() const { return reduce8<_mm_add_ps>(_mm256_add_ps(low(), high())); }
  float min_lane() const { return reduce8<_mm_min_ps>(_mm256_min_ps(low(), high())); }
  float max_lane() const { return reduce8<_mm_max_ps>(_mm256_max_ps(low(), high())); }
  static float sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

}  // namespace
}  // namespace igq::kernels
