// The byte family with the dot product of signed bytes (Armv8.2 FEAT_DotProd: Cortex-A76, Neoverse N1 and later).
#include "kernels/arm/byte_family.h"
#include "kernels/arm/fill.h"

namespace igq::kernels {
namespace {

/// 8 rows by 8 columns, 4 slots a step: 4 loads of 16 bytes for 16 dot products, whose sums fill 16 registers.
struct DotProduct {
  using Panel = PanelNeon<4, 8, true>;
  static constexpr int kRows = 8;

  template <int R>
  static void multiply(const std::uint8_t* codes, const char* weights, int steps, CodeRange, int32x4_t (&sums)[R][2]) {
    const auto* a = reinterpret_cast<const std::int8_t*>(codes);
    const auto* w = reinterpret_cast<const std::int8_t*>(weights);
    int32x4_t s[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) s[r][0] = sums[r][0], s[r][1] = sums[r][1];
    for (; steps > 0; --steps, a += 4 * R, w += Panel::kStepBytes) {
      const int8x16_t left = vld1q_s8(w), right = vld1q_s8(w + 16);
#pragma GCC unroll 2
      for (int q = 0; q < R / 4; ++q) {
        const int8x16_t rows = vld1q_s8(a + 16 * q);
        add_row<R, 0>(s, 4 * q, left, right, rows);
        add_row<R, 1>(s, 4 * q + 1, left, right, rows);
        add_row<R, 2>(s, 4 * q + 2, left, right, rows);
        add_row<R, 3>(s, 4 * q + 3, left, right, rows);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r][0] = s[r][0], sums[r][1] = s[r][1];
  }

  template <int R, int kLane>
  [[gnu::always_inline]] static void add_row(int32x4_t (&s)[R][2], int r, int8x16_t left, int8x16_t right,
                                             int8x16_t rows) {
    s[r][0] = vdotq_laneq_s32(s[r][0], left, rows, kLane);
    s[r][1] = vdotq_laneq_s32(s[r][1], right, rows, kLane);
  }
};

}  // namespace

void fill_byte_kernels_neon_dotprod(Kernels& table) {
  fill_byte_kernels<DotProduct>(table, {.row_block = 56, .group_align = 16});
}

}  // namespace igq::kernels
