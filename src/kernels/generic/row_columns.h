// How kernels go over the columns of a row: 16 lanes of V (generic/vec16.h) at a time, the last ones perhaps partial.
#pragma once

#include <cstddef>
#include <cstdint>

namespace igq::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

/// step(c, n) for every 16 columns: n = 16 known to the compiler, then once with the rest.
template <class Step>
inline void for_columns(int cols, Step step) {
  int c = 0;
  for (; c + 16 <= cols; c += 16) step.template operator()<true>(c, 16);
  if (c < cols) step.template operator()<false>(c, cols - c);
}

template <bool kFull, class V>
inline V load_lanes(const float* p, int n, float fill = 0) {
  if constexpr (kFull) return V::load(p);
  return V::load_part(p, n, fill);
}
template <bool kFull, class V>
inline void store_lanes(V v, float* p, int n) {
  if constexpr (kFull)
    v.store(p);
  else
    v.store_part(p, n);
}

}  // namespace
}  // namespace igq::kernels
