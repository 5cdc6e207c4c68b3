// The byte family on NEON without a product of bytes in 32 bits: products of 8 bits are added in pairs of 16 bits.
#include "kernels/arm/byte_family.h"
#include "kernels/arm/fill.h"

namespace igq::kernels {
namespace {

/// 4 rows by 4 columns, 16 slots a step; 16 vectors of partial sums, which a column adds up at the end.
struct WideningProduct {
  using Panel = PanelNeon<16, 4, true>;
  static constexpr int kRows = 4;

  template <int R>
  static void multiply(const std::uint8_t* codes, const char* weights, int steps, CodeRange range,
                       int32x4_t (&s)[R][1]) {
    // Two products of a code down to -128 and a weight of at most 127 fit 16 bits.
    if (range.w_abs_max <= 127)
      steps_of<R, true>(codes, weights, steps, s);
    else
      steps_of<R, false>(codes, weights, steps, s);
  }

  template <int R, bool kPairs>
  static void steps_of(const std::uint8_t* codes, const char* weights, int steps, int32x4_t (&s)[R][1]) {
    const auto* a = reinterpret_cast<const std::int8_t*>(codes);
    const auto* w = reinterpret_cast<const std::int8_t*>(weights);
    int32x4_t sum[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) sum[r][c] = vdupq_n_s32(0);
    for (; steps > 0; --steps, a += 16 * R, w += Panel::kStepBytes) {
      int8x16_t column[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) column[c] = vld1q_s8(w + 16 * c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const int8x16_t row = vld1q_s8(a + 16 * r);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
          int16x8_t product = vmull_s8(vget_low_s8(row), vget_low_s8(column[c]));
          if constexpr (kPairs) {
            product = vmlal_high_s8(product, row, column[c]);
          } else {
            sum[r][c] = vpadalq_s16(sum[r][c], product);
            product = vmull_high_s8(row, column[c]);
          }
          sum[r][c] = vpadalq_s16(sum[r][c], product);
        }
      }
    }
    for (int r = 0; r < R; ++r)
      s[r][0] = vaddq_s32(s[r][0], vpaddq_s32(vpaddq_s32(sum[r][0], sum[r][1]), vpaddq_s32(sum[r][2], sum[r][3])));
  }
};

}  // namespace

void fill_byte_kernels_neon(Kernels& table) {
  fill_byte_kernels<WideningProduct>(table, {.row_block = 56, .group_align = 16});
}

}  // namespace igq::kernels
