// A virtual vector of 16 floats, in which the float kernels are written once; this is the readable implementation.
//
// Vec16 (generic/vec16.h) has, over the native vectors of an instruction set, the same members and give the same bits.
// Semantics to rely on:
// - fma rounds once; + - * / sqrt are IEEE; no member reorders or contracts anything.
// - min(a, b) = a < b ? a : b and max(a, b) = a > b ? a : b, as x86 defines them: **a NaN in either operand gives b**,
//   and so do two zeros. Hence max(x, limit) turns NaN into the limit, max(limit, x) lets NaN through, and
//   min(x, accumulator) ignores NaN.
// - Reductions add lanes in one tree: i + (i + 8), then i + (i + 4), i + (i + 2), 0 + 1.
// - The `_part` members touch the first n lanes of memory only, 0 <= n <= 16.
// Everything lies in an unnamed namespace: a copy compiled for one instruction set must never serve another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace igq::kernels {
namespace {

struct VecReference {
  /// Most rows of a tile of the matrix product (generic/gemm_f32.h), and panels of a tile of that many rows: 1 to 4,
  /// more for few rows, so that there are enough independent sums.
  static constexpr int kTileRows = 4;
  /// Rows that layer norm, softmax and activations work on side by side (vec_lockstep.h).
  static constexpr int kLockstep = 1;
  static constexpr int tile_panels(int /*rows*/) { return 1; }

  struct Mask {
    bool m[16];
  };
  float v[16];

  template <typename F>
  static VecReference make(F f) {
    VecReference r;
    for (int i = 0; i < 16; ++i) r.v[i] = f(i);
    return r;
  }
  static VecReference splat(float x) {
    return make([&](int) { return x; });
  }
  static VecReference load(const float* p) {
    return make([&](int i) { return p[i]; });
  }
  /// Lanes from n on hold `fill`.
  static VecReference load_part(const float* p, int n, float fill = 0) {
    return make([&](int i) { return i < n ? p[i] : fill; });
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
  void store_part(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
  /// Stores lanes that hold integers in [0, 255] as bytes.
  void store_bytes(std::uint8_t* p) const { store_bytes_part(p, 16); }
  void store_bytes_part(std::uint8_t* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = static_cast<std::uint8_t>(v[i]);
  }
  /// The sum of lanes that hold integers.
  std::int32_t integer_sum() const {
    std::int32_t total = 0;
    for (float x : v) total += static_cast<std::int32_t>(x);
    return total;
  }

  friend VecReference operator+(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend VecReference operator-(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend VecReference operator*(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend VecReference operator/(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] / b.v[i]; });
  }
  /// a * b + c
  static VecReference fma(const VecReference& a, const VecReference& b, const VecReference& c) {
    return make([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
  }
  /// c - a * b
  static VecReference fnma(const VecReference& a, const VecReference& b, const VecReference& c) {
    return make([&](int i) { return __builtin_fmaf(-a.v[i], b.v[i], c.v[i]); });
  }
  static VecReference min(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static VecReference max(const VecReference& a, const VecReference& b) {
    return make([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static VecReference abs(const VecReference& a) {
    return make([&](int i) { return __builtin_fabsf(a.v[i]); });
  }
  /// To the nearest integer, halves to even.
  static VecReference round(const VecReference& a) {
    return make([&](int i) { return __builtin_rintf(a.v[i]); });
  }
  /// a < b; false for NaN.
  static Mask less(const VecReference& a, const VecReference& b) {
    Mask r;
    for (int i = 0; i < 16; ++i) r.m[i] = a.v[i] < b.v[i];
    return r;
  }
  static VecReference select(const Mask& m, const VecReference& yes, const VecReference& no) {
    return make([&](int i) { return m.m[i] ? yes.v[i] : no.v[i]; });
  }
  /// table[n mod 16] in every lane that holds 1.5 * 2^23 + n, an integer in its low bits; the table starts at 64 bytes.
  static VecReference lookup(const float* table, const VecReference& shifted) {
    return make([&](int i) {
      std::uint32_t bits;
      std::memcpy(&bits, &shifted.v[i], 4);
      return table[bits % 16];
    });
  }
  /// lookup() with n * 2^19 added to the bits of what is found: 2^(n / 16) from a table that takes i * 2^19 from the
  /// bits of 2^(i / 16), 0 for n = -16 * 127.
  static VecReference lookup_exp2(const float* table, const VecReference& shifted) {
    return make([&](int i) {
      std::uint32_t n, bits;
      std::memcpy(&n, &shifted.v[i], 4);
      std::memcpy(&bits, &table[n % 16], 4);
      bits += n << 19;
      float r;
      std::memcpy(&r, &bits, 4);
      return r;
    });
  }
  template <typename F>
  float reduce(F f) const {
    float r[16];
    std::memcpy(r, v, sizeof r);
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) r[i] = f(r[i], r[i + half]);
    return r[0];
  }
  float sum() const {
    return reduce([](float a, float b) { return a + b; });
  }
  float min_lane() const {
    return reduce([](float a, float b) { return a < b ? a : b; });
  }
  float max_lane() const {
    return reduce([](float a, float b) { return a > b ? a : b; });
  }
  static float sqrt(float x) { return __builtin_sqrtf(x); }
};

}  // namespace
}  // namespace igq::kernels
