// vec16.h with two ymm registers.
#pragma once

#include "kernels/intrinsics.h"

namespace igq::kernels {
namespace {

struct VecAvx2 {
  // 12 of the 16 registers hold sums.
  static constexpr int kTileRows = 6;
  static constexpr int kLockstep = 2;
  static constexpr int tile_panels(int rows) { return rows >= 4 ? 1 : rows == 3 ? 2 : rows == 2 ? 3 : 4; }

  struct Mask {
    __m256 a, b;
  };
  __m256 a, b;  // lanes 0-7, 8-15

  /// All bits set in the first n of 16 lanes.
  static void lane_mask(int n, __m256i& ma, __m256i& mb) {
    alignas(32) static constexpr std::int32_t kOnes[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                           -1, -1, -1, -1, -1, -1, -1, -1};
    ma = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 16 - n));
    mb = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 24 - n));
  }

  static VecAvx2 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static VecAvx2 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static VecAvx2 load_part(const float* p, int n, float fill = 0) {
    __m256i ma, mb;
    lane_mask(n, ma, mb);
    const __m256 f = _mm256_set1_ps(fill);
    return {_mm256_blendv_ps(f, _mm256_maskload_ps(p, ma), _mm256_castsi256_ps(ma)),
            _mm256_blendv_ps(f, _mm256_maskload_ps(p + 8, mb), _mm256_castsi256_ps(mb))};
  }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  void store_part(float* p, int n) const {
    __m256i ma, mb;
    lane_mask(n, ma, mb);
    _mm256_maskstore_ps(p, ma, a);
    _mm256_maskstore_ps(p + 8, mb, b);
  }
  __m128i bytes() const { return bytes_of(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)); }
  void store_bytes(std::uint8_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes()); }
  void store_bytes_part(std::uint8_t* p, int n) const {
    alignas(16) std::uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes());
    for (int i = 0; i < n; ++i) p[i] = all[i];
  }

  static __m128i bytes_of(__m256i x, __m256i y) {  // of 32-bit lanes in [0, 255]
    const __m256i ordered = _mm256_permute4x64_epi64(_mm256_packs_epi32(x, y), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  }
  std::int32_t integer_sum() const {
    const __m256i eight = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }

  friend VecAvx2 operator+(VecAvx2 x, VecAvx2 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  friend VecAvx2 operator-(VecAvx2 x, VecAvx2 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  friend VecAvx2 operator*(VecAvx2 x, VecAvx2 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  friend VecAvx2 operator/(VecAvx2 x, VecAvx2 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static VecAvx2 fma(VecAvx2 x, VecAvx2 y, VecAvx2 z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static VecAvx2 fnma(VecAvx2 x, VecAvx2 y, VecAvx2 z) {
    return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
  }
  static VecAvx2 min(VecAvx2 x, VecAvx2 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static VecAvx2 max(VecAvx2 x, VecAvx2 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static VecAvx2 abs(VecAvx2 x) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
  }
  static VecAvx2 round(VecAvx2 x) {
    constexpr int kToEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kToEven), _mm256_round_ps(x.b, kToEven)};
  }
  static Mask less(VecAvx2 x, VecAvx2 y) {
    return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
  }
  static VecAvx2 select(Mask m, VecAvx2 yes, VecAvx2 no) {
    return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
  }
  static __m256 lookup(const float* table, __m256 shifted) {
    const __m256i index = _mm256_castps_si256(shifted);
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index),
                 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
  }
  static VecAvx2 lookup(const float* table, VecAvx2 x) { return {lookup(table, x.a), lookup(table, x.b)}; }
  static __m256 lookup_exp2(const float* table, __m256 shifted) {
    const __m256i sixteenths = _mm256_slli_epi32(_mm256_castps_si256(shifted), 19);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(lookup(table, shifted)), sixteenths));
  }
  static VecAvx2 lookup_exp2(const float* table, VecAvx2 x) {
    return {lookup_exp2(table, x.a), lookup_exp2(table, x.b)};
  }

  template <__m128 (*kAdd)(__m128, __m128)>
  static float reduce8(__m256 x) {
    const __m128 four = kAdd(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = kAdd(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(kAdd(two, _mm_shuffle_ps(two, two, 1)));
  }
  float sum() const { return reduce8<_mm_add_ps>(_mm256_add_ps(a, b)); }
  float min_lane() const { return reduce8<_mm_min_ps>(_mm256_min_ps(a, b)); }
  float max_lane() const { return reduce8<_mm_max_ps>(_mm256_max_ps(a, b)); }
  static float sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
};

}  // namespace
}  // namespace igq::kernels
