// What the files of an attention share: quantizers of q, k and v, packed operands, the work of one window and head and
// the scratch memory of one thread (method.md section 4).
#pragma once

#include <algorithm>
#include <vector>

#include "ops/attention.h"
#include "ops/round_up.h"

namespace igq {

/// Quantizers of one operand of one head: one per row (token) or one per column (channel of the head).
struct OperandQuantizers {
  bool by_row = false;
  int q_max = 0;
  float *scale = nullptr, *inv_scale = nullptr, *zero = nullptr;  // [rows] or [cols], capacity max(rows, cols) padded
};

/// k or v as byte panels, with the scales of their columns and the zero-points that meet the row sums.
struct BytePanels {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;                           // bytes from a panel to the next
  std::int32_t* corrections = nullptr;              // [panels][kernels::kBytePanel]
  float *col_scale = nullptr, *col_zero = nullptr;  // [panels * kernels::kBytePanel]

  void take(ExecContext& context, int slots, int cols) {
    const auto panels = static_cast<std::size_t>(round_up(cols, kernels::kBytePanel) / kernels::kBytePanel);
    stride = (context.kernels->panel_bytes(slots, 1, kernels::CodeRange{255, 128}) + 63) / 64 * 64;
    data = context.arena.take<std::uint8_t>(panels * stride);
    corrections = context.arena.take<std::int32_t>(panels * kernels::kBytePanel);
    col_scale = context.arena.take<float>(panels * kernels::kBytePanel);
    col_zero = context.arena.take<float>(panels * kernels::kBytePanel);
  }
  void* panel(int col) const { return data + stride * static_cast<std::size_t>(col / kernels::kBytePanel); }
  /// Points a product at the panel of columns [col, col + 64) of `cols`.
  void select(kernels::ByteGemm& gemm, int col, int cols) const {
    gemm.panel = panel(col);
    gemm.corrections = corrections + col;
    gemm.col_scale = col_scale + col;
    gemm.col_zero = col_zero + col;
    gemm.cols = std::min(kernels::kBytePanel, cols - col);
  }
};

/// One window and head.
struct Attention::Task {
  const float *q, *k, *v;  // rows of tokens, strides ld_q and ld
  std::int64_t ld_q, ld;
  int queries, n, head;  // n: tokens of k and v
  const float* bias;     // [queries][n] or null
  float* out;            // [queries][head_dim], stride ldo
  std::int64_t ldo;
};

/// Scratch of one thread.
struct Attention::Scratch {
  int n_padded = 0, d_padded = 0;  // multiples of kBytePanel
  int scores_stride = 0;
  float* panel = nullptr;                                      // packed k or v
  float* scores = nullptr;                                     // [queries] (integers: [row_block]) [scores_stride]
  float *row_a = nullptr, *row_b = nullptr, *row_c = nullptr;  // as long as the longest of tokens and channels, padded
  float *copy_q = nullptr, *copy_k = nullptr, *copy_v = nullptr;  // [rows][head_dim]: simulation; k, v less their means
  float *mean_k = nullptr, *mean_v = nullptr;                     // [d_padded]
  const float *from_k = nullptr, *from_v = nullptr;               // what codes are made of, rows ld_k and ld_v apart
  std::int64_t ld_k = 0, ld_v = 0;
  OperandQuantizers q, k, v;
  std::uint8_t *codes_q = nullptr, *codes_k = nullptr, *codes_v = nullptr;
  std::uint8_t* codes_p = nullptr;  // [row_block][n_padded]
  double* sums = nullptr;           // simulation: [16][longest], as what follows
  float *block = nullptr, *small_panel = nullptr, *column_scale = nullptr, *column_zero = nullptr;
  std::int16_t* zero_slots = nullptr;
  std::int32_t* order = nullptr;  // identity over n tokens, -1 padded
  BytePanels k_panels, v_panels;
};

void quantize(const kernels::Kernels& kernels, const OperandQuantizers& q, const float* x, std::int64_t ld, int rows,
              int cols, std::uint8_t* codes, std::int64_t ldc);

}  // namespace igq
