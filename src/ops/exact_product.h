// Products of integers held in floats, exact: what simulation adds up, so that it has the very sums that integers have.
// A float holds integers up to 2^24; more is added up in pieces, in double.
#pragma once

#include <cstdint>

#include "kernels/table.h"

namespace igq {

/// Sums of products that a float holds whatever their order.
inline constexpr double kExactSum = 0x1p24;
/// Largest magnitude of a weight code, or of k and v.
inline constexpr double kLargestWeight = 128.0;

/// Terms a[k] * w[k], |a| at most `largest_a`, of which a float holds the sum.
inline int exact_depth(double largest_a, int depth) {
  const double terms = kExactSum / (kLargestWeight * (largest_a < 1.0 ? 1.0 : largest_a));
  return terms >= depth ? depth : terms < 1.0 ? 1 : static_cast<int>(terms);
}

/// The second operand w [depth][cols], packed piece by piece.
struct ExactOperand {
  float* packed = nullptr;  ///< cols rounded up to kFloatPanel, times depth
  int depth = 0, cols = 0;
  int piece = 0;  ///< exact_depth() of what it is multiplied by

  /// From w row major [depth][ldw], or transposed, [cols][ldw].
  void pack(const kernels::Kernels& kernels, const float* w, std::int64_t ldw, bool transposed) const;
};

/// y [rows][ldy] = a [rows][lda] times the operand, the exact sums rounded once to float. `sums` has room for rows *
/// cols.
void exact_product(const kernels::Kernels& kernels, const float* a, std::int64_t lda, int rows,
                   const ExactOperand& operand, double* sums, float* y, std::int64_t ldy);

/// How sums become outputs (kernels.h, ByteGemm): v = fma(-col_zero, row_sum, v) unless row_sum is null, v * row_scale
/// unless null, y = fma(v, col_scale, bias), bias 0 where null. `panel` has room for cols rounded up to kFloatPanel.
struct ExactOutputs {
  const float *row_sum, *row_scale, *col_zero, *col_scale, *bias;
};
void finish_exact(const kernels::Kernels& kernels, const ExactOutputs& outputs, float* v, std::int64_t ldv, int rows,
                  int cols, float* panel, float* y, std::int64_t ldy);

}  // namespace igq
