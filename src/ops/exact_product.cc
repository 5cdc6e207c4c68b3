#include "ops/exact_product.h"

#include <algorithm>

namespace igq {

using kernels::kFloatPanel;

namespace {

int panels_of(int cols) { return (cols + kFloatPanel - 1) / kFloatPanel; }

}  // namespace

void ExactOperand::pack(const kernels::Kernels& kernels, const float* w, std::int64_t ldw, bool transposed) const {
  for (int k = 0; k < depth; k += piece)
    kernels.pack_f32(transposed ? w + k : w + k * ldw, ldw, transposed, std::min(piece, depth - k), cols,
                     packed + std::int64_t{k} * panels_of(cols) * kFloatPanel);
}

void exact_product(const kernels::Kernels& kernels, const float* a, std::int64_t lda, int rows,
                   const ExactOperand& operand, double* sums, float* y, std::int64_t ldy) {
  const int panels = panels_of(operand.cols), cols = operand.cols;
  const auto piece_of = [&](int k) {
    kernels.gemm_f32({.x = a + k,
                      .ldx = lda,
                      .rows = rows,
                      .k = std::min(operand.piece, operand.depth - k),
                      .packed = operand.packed + std::int64_t{k} * panels * kFloatPanel,
                      .panel_begin = 0,
                      .panel_end = panels,
                      .n = cols,
                      .bias = nullptr,
                      .accumulate = false,
                      .y = y,
                      .ldy = ldy});
  };
  if (operand.piece >= operand.depth) return piece_of(0);
  std::fill_n(sums, std::int64_t{rows} * cols, 0.0);
  for (int k = 0; k < operand.depth; k += operand.piece) {
    piece_of(k);
    for (std::int64_t t = 0; t < rows; ++t)
      for (int c = 0; c < cols; ++c) sums[t * cols + c] += static_cast<double>(y[t * ldy + c]);
  }
  for (std::int64_t t = 0; t < rows; ++t)
    for (int c = 0; c < cols; ++c) y[t * ldy + c] = static_cast<float>(sums[t * cols + c]);
}

void finish_exact(const kernels::Kernels& kernels, const ExactOutputs& outputs, float* v, std::int64_t ldv, int rows,
                  int cols, float* panel, float* y, std::int64_t ldy) {
  if (outputs.row_sum != nullptr) {  // a product of depth 1
    const int panels = panels_of(cols);
    std::fill_n(panel, panels * kFloatPanel, 0.0f);
    for (int c = 0; c < cols; ++c) panel[c] = -outputs.col_zero[c];
    kernels.gemm_f32({.x = outputs.row_sum,
                      .ldx = 1,
                      .rows = rows,
                      .k = 1,
                      .packed = panel,
                      .panel_begin = 0,
                      .panel_end = panels,
                      .n = cols,
                      .bias = nullptr,
                      .accumulate = true,
                      .y = v,
                      .ldy = ldv});
  }
  for (std::int64_t t = 0; t < rows; ++t) {
    if (outputs.row_scale != nullptr)
      for (int c = 0; c < cols; ++c) v[t * ldv + c] *= outputs.row_scale[t];
    if (outputs.bias != nullptr)
      std::copy_n(outputs.bias, cols, y + t * ldy);
    else
      std::fill_n(y + t * ldy, cols, 0.0f);
  }
  kernels.add_residual(y, ldy, v, ldv, rows, cols, outputs.col_scale);
}

}  // namespace igq
