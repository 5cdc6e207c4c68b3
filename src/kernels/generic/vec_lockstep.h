// N virtual vectors (generic/vec16.h) that go through the same operations in lockstep: each operation is issued N times
// in a row.
//
// A row's polynomial or sum is a chain in which every step waits four cycles for the one before, and processors look
// ahead over some hundred waiting instructions only, less than two such chains. Side by side, N chains hide the wait.
#pragma once

namespace igq::kernels {
namespace {

template <class V, int N>
struct Lockstep {
  struct Mask {
    typename V::Mask m[N];
  };
  V v[N];

  template <class F>
  [[gnu::always_inline]] static Lockstep make(F f) {
    Lockstep r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) r.v[i] = f(i);
    return r;
  }
  static Lockstep splat(float x) {
    return make([&](int) { return V::splat(x); });
  }
  friend Lockstep operator+(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend Lockstep operator-(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend Lockstep operator*(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend Lockstep operator/(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return a.v[i] / b.v[i]; });
  }
  static Lockstep fma(const Lockstep& a, const Lockstep& b, const Lockstep& c) {
    return make([&](int i) { return V::fma(a.v[i], b.v[i], c.v[i]); });
  }
  static Lockstep fnma(const Lockstep& a, const Lockstep& b, const Lockstep& c) {
    return make([&](int i) { return V::fnma(a.v[i], b.v[i], c.v[i]); });
  }
  static Lockstep min(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return V::min(a.v[i], b.v[i]); });
  }
  static Lockstep max(const Lockstep& a, const Lockstep& b) {
    return make([&](int i) { return V::max(a.v[i], b.v[i]); });
  }
  static Lockstep abs(const Lockstep& a) {
    return make([&](int i) { return V::abs(a.v[i]); });
  }
  static Lockstep lookup_exp2(const float* table, const Lockstep& a) {
    return make([&](int i) { return V::lookup_exp2(table, a.v[i]); });
  }
  static Lockstep lookup(const float* table, const Lockstep& a) {
    return make([&](int i) { return V::lookup(table, a.v[i]); });
  }
  static Mask less(const Lockstep& a, const Lockstep& b) {
    Mask r;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) r.m[i] = V::less(a.v[i], b.v[i]);
    return r;
  }
  static Lockstep select(const Mask& m, const Lockstep& yes, const Lockstep& no) {
    return make([&](int i) { return V::select(m.m[i], yes.v[i], no.v[i]); });
  }
};

}  // namespace
}  // namespace igq::kernels
