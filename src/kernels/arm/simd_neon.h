// Vectors of 128 bits of 64-bit ARM: the vocabulary in which the generic kernels are written (generic/vec16.h,
// generic/byte_outputs.h). x86/simd256.h is its counterpart.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace igq::kernels {
namespace {

struct SimdNeon {
  using Int = int32x4_t;
  using Float = float32x4_t;
  using Mask = uint32x4_t;
  static constexpr int kLanes = 4;  ///< of 32 bits

  // Sizes of the float kernels' tiles, as VecReference has them: 24 of the 32 registers hold sums.
  static constexpr int kTileRows = 6;
  static constexpr int kLockstep = 1;  // four registers to a Vec16 hide the wait
  static constexpr int tile_panels(int rows) { return rows >= 4 ? 1 : rows == 3 ? 2 : rows == 2 ? 3 : 4; }

  static Int load(const void* p) { return vld1q_s32(static_cast<const std::int32_t*>(p)); }
  static void store(void* p, Int x) { vst1q_s32(static_cast<std::int32_t*>(p), x); }
  static Int add32(Int x, Int y) { return vaddq_s32(x, y); }
  static Int multiply32(Int x, Int y) { return vmulq_s32(x, y); }
  static Int set32(std::int32_t x) { return vdupq_n_s32(x); }

  static Float zerof() { return vdupq_n_f32(0); }
  static Float set1(float x) { return vdupq_n_f32(x); }
  static Float to_float(Int x) { return vcvtq_f32_s32(x); }
  static Float fma(Float x, Float y, Float z) { return vfmaq_f32(z, x, y); }
  static Float fnma(Float x, Float y, Float z) { return vfmsq_f32(z, x, y); }
  static Float mul(Float x, Float y) { return vmulq_f32(x, y); }

  static Float loadf(const float* p) { return vld1q_f32(p); }
  static void storef(float* p, Float x) { vst1q_f32(p, x); }
  static Float addf(Float x, Float y) { return vaddq_f32(x, y); }
  static Float subf(Float x, Float y) { return vsubq_f32(x, y); }
  static Float divf(Float x, Float y) { return vdivq_f32(x, y); }
  // Not fmin and fmax, which treat NaN and zeros otherwise than table.h asks.
  static Float minf(Float x, Float y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
  static Float maxf(Float x, Float y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
  static Float absf(Float x) { return vabsq_f32(x); }
  static Float roundf(Float x) { return vrndnq_f32(x); }
  static Mask lessf(Float x, Float y) { return vcltq_f32(x, y); }
  static Float selectf(Mask m, Float yes, Float no) { return vbslq_f32(m, yes, no); }
  static float sqrt(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
  static Int to_int(Float x) { return vcvtnq_s32_f32(x); }
  static Int as_int(Float x) { return vreinterpretq_s32_f32(x); }
  static Float as_float(Int x) { return vreinterpretq_f32_s32(x); }
  template <int kBits>
  static Int shift_left(Int x) {
    return vshlq_n_s32(x, kBits);
  }
  /// The four bytes of entry n are 4 n to 4 n + 3.
  static Float lookup(const float* table, Float shifted) {
    const uint32x4_t entry = vandq_u32(vreinterpretq_u32_f32(shifted), vdupq_n_u32(15));
    const uint8x16_t bytes = vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), entry, 0x04040404));
    return vreinterpretq_f32_u8(vqtbl4q_u8(vld1q_u8_x4(reinterpret_cast<const std::uint8_t*>(table)), bytes));
  }

  template <float32x2_t (*kOp)(float32x2_t, float32x2_t)>
  static float reduce(Float x) {
    const float32x2_t two = kOp(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(kOp(two, vdup_lane_f32(two, 1)), 0);
  }
  static float32x2_t add2(float32x2_t x, float32x2_t y) { return vadd_f32(x, y); }
  static float32x2_t min2(float32x2_t x, float32x2_t y) { return vbsl_f32(vclt_f32(x, y), x, y); }
  static float32x2_t max2(float32x2_t x, float32x2_t y) { return vbsl_f32(vcgt_f32(x, y), x, y); }
  static float sum_lanes(Float x) { return reduce<add2>(x); }
  static float min_lane(Float x) { return reduce<min2>(x); }
  static float max_lane(Float x) { return reduce<max2>(x); }
  static std::int32_t sum_lanes(Int x) { return vaddvq_s32(x); }

  /// Sixteen lanes in [0, 255] as bytes.
  static uint8x16_t bytes(const Int (&x)[4]) {
    const uint16x8_t low = vcombine_u16(vqmovun_s32(x[0]), vqmovun_s32(x[1])),
                     high = vcombine_u16(vqmovun_s32(x[2]), vqmovun_s32(x[3]));
    return vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
  }
  static void store_bytes(const Int (&x)[4], std::uint8_t* p) { vst1q_u8(p, bytes(x)); }
  static void store_bytes(const Int (&x)[4], std::uint8_t* p, int n) {
    std::uint8_t all[16];
    vst1q_u8(all, bytes(x));
    for (int i = 0; i < n; ++i) p[i] = all[i];
  }

  /// The first `count` lanes only, none where it is not above 0; nothing else is touched, other lanes are `fill`.
  static Float load_first(const float* p, int count, float fill = 0) {
    if (count >= kLanes) return vld1q_f32(p);
    float lanes[kLanes] = {fill, fill, fill, fill};
    for (int i = 0; i < count; ++i) lanes[i] = p[i];
    return vld1q_f32(lanes);
  }
  static void store_first(float* p, int count, Float x) {
    if (count >= kLanes) return vst1q_f32(p, x);
    float lanes[kLanes];
    vst1q_f32(lanes, x);
    for (int i = 0; i < count; ++i) p[i] = lanes[i];
  }
};

/// For transpose16 (generic/codes.h).
struct ZipNeon {
  static uint8x16_t low(uint8x16_t x, uint8x16_t y) { return vzip1q_u8(x, y); }
  static uint8x16_t high(uint8x16_t x, uint8x16_t y) { return vzip2q_u8(x, y); }
};

}  // namespace
}  // namespace igq::kernels
