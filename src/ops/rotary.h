// Rotary position embedding (Su et al. 2021; DINOv3, EVA-02): the queries and keys of a head turn by angles that depend
// on the place of their patch, pair by pair, in fp32 before they become codes:
//   a' = a cos - b sin,  b' = b cos + a sin,  a and b half a head apart.
// No product is fused with a sum (this project is compiled without contraction), so every machine has the same bits.
#pragma once

#include <cstdint>

namespace igq {

/// Tables [tokens - first][head_dim / 2]; the tokens before `first` (class, registers) do not turn.
struct Rotation {
  const float *cos = nullptr, *sin = nullptr;
  int first = 0;
};

/// Turns one head of `tokens` rows, `ld` apart, in place.
inline void rotate_head(const Rotation& rotation, float* rows, std::int64_t ld, int tokens, int head_dim) {
  const int half = head_dim / 2;
  for (std::int64_t t = rotation.first; t < tokens; ++t) {
    const float *c = rotation.cos + (t - rotation.first) * half, *s = rotation.sin + (t - rotation.first) * half;
    float *a = rows + t * ld, *b = a + half;
    for (int j = 0; j < half; ++j) {
      const float x = a[j], y = b[j];
      a[j] = x * c[j] - y * s[j];
      b[j] = y * c[j] + x * s[j];
    }
  }
}

}  // namespace igq
