// Transposition of 16x16 bytes, on which packing and permutation of codes rest.
#pragma once

#include <arm_neon.h>

namespace igq::kernels {
namespace {

/// x[i] byte j <-> x[j] byte i.
[[gnu::always_inline]] inline void transpose16(uint8x16_t (&x)[16]) {
  // Interleaving row i with row i + 8 rotates the (row, column) address by one bit; four times is a transposition.
  for (int round = 0; round < 4; ++round) {
    uint8x16_t y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      y[2 * i] = vzip1q_u8(x[i], x[i + 8]);
      y[2 * i + 1] = vzip2q_u8(x[i], x[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) x[i] = y[i];
  }
}

}  // namespace
}  // namespace igq::kernels
