// The byte family with the matrix product of unsigned and signed bytes (FEAT_I8MM: Neoverse V1, Cortex-A510 and later).
#include "kernels/arm/byte_family.h"
#include "kernels/arm/fill.h"

namespace igq::kernels {
namespace {

/// 8 rows by 8 columns, 8 slots a step: 8 loads of 16 bytes for 16 products of 2x8 by 8x2, whose sums, 2x2 each, fill
/// 16 registers.
struct MatrixProduct {
  using Panel = PanelNeon<8, 8, false>;
  static constexpr int kRows = 8;

  template <int R>
  static void multiply(const std::uint8_t* a, const char* weights, int steps, CodeRange, int32x4_t (&sums)[R][2]) {
    const auto* w = reinterpret_cast<const std::int8_t*>(weights);
    int32x4_t s[R / 2][4];
#pragma GCC unroll 4
    for (int r = 0; r < R / 2; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) s[r][c] = vdupq_n_s32(0);
    for (; steps > 0; --steps, a += 8 * R, w += Panel::kStepBytes) {
      int8x16_t columns[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) columns[c] = vld1q_s8(w + 16 * c);
#pragma GCC unroll 4
      for (int r = 0; r < R / 2; ++r) {
        const uint8x16_t rows = vld1q_u8(a + 16 * r);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) s[r][c] = vusmmlaq_s32(s[r][c], rows, columns[c]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R / 2; ++r)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const int64x2_t x = vreinterpretq_s64_s32(s[r][2 * j]), y = vreinterpretq_s64_s32(s[r][2 * j + 1]);
        sums[2 * r][j] = vaddq_s32(sums[2 * r][j], vreinterpretq_s32_s64(vzip1q_s64(x, y)));
        sums[2 * r + 1][j] = vaddq_s32(sums[2 * r + 1][j], vreinterpretq_s32_s64(vzip2q_s64(x, y)));
      }
  }
};

}  // namespace

void fill_byte_kernels_neon_i8mm(Kernels& table) {
  fill_byte_kernels<MatrixProduct>(table, {.row_block = 56, .group_align = 16});
}

}  // namespace igq::kernels
