// Sixteen float lanes, in which the float kernels are written once, from the native vectors of an instruction set.
//
// S is the vocabulary of an instruction set (x86/simd256.h, x86/simd512.h), the one that the byte kernels use too:
// vectors of integers and of floats of S::kLanes lanes of 32 bits. VecReference (reference/vec_reference.h) has the
// same members as Vec16, gives the same bits and says what each of them means.
#pragma once

#include <cstddef>
#include <cstdint>

namespace igq::kernels {
namespace {

template <class S>
struct Vec16 {
  static constexpr int kRegisters = 16 / S::kLanes;
  static constexpr int kTileRows = S::kTileRows, kLockstep = S::kLockstep;
  static constexpr int tile_panels(int rows) { return S::tile_panels(rows); }

  using Int = typename S::Int;
  using Float = typename S::Float;
  struct Mask {
    typename S::Mask m[kRegisters];
  };
  Float v[kRegisters];  ///< lanes [i * kLanes, (i + 1) * kLanes)

  // Every member is inlined by force: out of line a Vec16 would go through memory.
  template <Float (*kOp)(Float)>
  [[gnu::always_inline]] static Vec16 each(const Vec16& a) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = kOp(a.v[i]);
    return r;
  }
  template <Float (*kOp)(Float, Float)>
  [[gnu::always_inline]] static Vec16 each(const Vec16& a, const Vec16& b) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = kOp(a.v[i], b.v[i]);
    return r;
  }
  template <Float (*kOp)(Float, Float, Float)>
  [[gnu::always_inline]] static Vec16 each(const Vec16& a, const Vec16& b, const Vec16& c) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = kOp(a.v[i], b.v[i], c.v[i]);
    return r;
  }
  /// All lanes in the order of memory, `kOp` register by register.
  template <Float (*kOp)(Float, Float)>
  [[gnu::always_inline]] Float one_register() const {
    Vec16 r = *this;
#pragma GCC unroll 2
    for (int half = kRegisters / 2; half > 0; half /= 2)  // lane i with i + 8, then i + 4 and so on
#pragma GCC unroll 2
      for (int i = 0; i < half; ++i) r.v[i] = kOp(r.v[i], r.v[i + half]);
    return r.v[0];
  }

  [[gnu::always_inline]] static Vec16 splat(float x) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = S::set1(x);
    return r;
  }
  [[gnu::always_inline]] static Vec16 load(const float* p) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = S::loadf(p + i * S::kLanes);
    return r;
  }
  [[gnu::always_inline]] static Vec16 load_part(const float* p, int n, float fill = 0) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = S::load_first(p + i * S::kLanes, n - i * S::kLanes, fill);
    return r;
  }
  [[gnu::always_inline]] void store(float* p) const {
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) S::storef(p + i * S::kLanes, v[i]);
  }
  [[gnu::always_inline]] void store_part(float* p, int n) const {
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) S::store_first(p + i * S::kLanes, n - i * S::kLanes, v[i]);
  }
  struct Integers {
    Int x[kRegisters];
  };
  [[gnu::always_inline]] Integers integers() const {
    Integers r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.x[i] = S::to_int(v[i]);
    return r;
  }
  [[gnu::always_inline]] void store_bytes(std::uint8_t* p) const { S::store_bytes(integers().x, p); }
  [[gnu::always_inline]] void store_bytes_part(std::uint8_t* p, int n) const { S::store_bytes(integers().x, p, n); }
  [[gnu::always_inline]] std::int32_t integer_sum() const {
    Integers r = integers();
#pragma GCC unroll 4
    for (int i = 1; i < kRegisters; ++i) r.x[0] = S::add32(r.x[0], r.x[i]);
    return S::sum_lanes(r.x[0]);
  }

  [[gnu::always_inline]] friend Vec16 operator+(const Vec16& a, const Vec16& b) { return each<S::addf>(a, b); }
  [[gnu::always_inline]] friend Vec16 operator-(const Vec16& a, const Vec16& b) { return each<S::subf>(a, b); }
  [[gnu::always_inline]] friend Vec16 operator*(const Vec16& a, const Vec16& b) { return each<S::mul>(a, b); }
  [[gnu::always_inline]] friend Vec16 operator/(const Vec16& a, const Vec16& b) { return each<S::divf>(a, b); }
  [[gnu::always_inline]] static Vec16 fma(const Vec16& a, const Vec16& b, const Vec16& c) {
    return each<S::fma>(a, b, c);
  }
  [[gnu::always_inline]] static Vec16 fnma(const Vec16& a, const Vec16& b, const Vec16& c) {
    return each<S::fnma>(a, b, c);
  }
  [[gnu::always_inline]] static Vec16 min(const Vec16& a, const Vec16& b) { return each<S::minf>(a, b); }
  [[gnu::always_inline]] static Vec16 max(const Vec16& a, const Vec16& b) { return each<S::maxf>(a, b); }
  [[gnu::always_inline]] static Vec16 abs(const Vec16& a) { return each<S::absf>(a); }
  [[gnu::always_inline]] static Vec16 round(const Vec16& a) { return each<S::roundf>(a); }
  [[gnu::always_inline]] static Mask less(const Vec16& a, const Vec16& b) {
    Mask r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.m[i] = S::lessf(a.v[i], b.v[i]);
    return r;
  }
  [[gnu::always_inline]] static Vec16 select(const Mask& m, const Vec16& yes, const Vec16& no) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = S::selectf(m.m[i], yes.v[i], no.v[i]);
    return r;
  }
  [[gnu::always_inline]] static Vec16 lookup(const float* table, const Vec16& shifted) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) r.v[i] = S::lookup(table, shifted.v[i]);
    return r;
  }
  [[gnu::always_inline]] static Vec16 lookup_exp2(const float* table, const Vec16& shifted) {
    Vec16 r;
#pragma GCC unroll 4
    for (int i = 0; i < kRegisters; ++i) {
      const Int sixteenths = S::template shift_left<19>(S::as_int(shifted.v[i]));
      r.v[i] = S::as_float(S::add32(S::as_int(S::lookup(table, shifted.v[i])), sixteenths));
    }
    return r;
  }

  [[gnu::always_inline]] float sum() const { return S::sum_lanes(one_register<S::addf>()); }
  [[gnu::always_inline]] float min_lane() const { return S::min_lane(one_register<S::minf>()); }
  [[gnu::always_inline]] float max_lane() const { return S::max_lane(one_register<S::maxf>()); }
  static float sqrt(float x) { return S::sqrt(x); }
};

}  // namespace
}  // namespace igq::kernels
