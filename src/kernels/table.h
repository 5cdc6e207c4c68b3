// The table of kernels: one set of function pointers per instruction set, chosen once at run time.
//
// Every kernel gives the same bits on every instruction set. Integers are exact. Float kernels are written once over a
// virtual vector of 16 lanes (generic/vec16.h): elementwise work is lane by lane, a reduction over a row keeps 16
// partial sums (lane = index mod 16) that are added in one fixed tree, and every fused multiply-add is written as such.
// A matrix product adds k = 0, 1, 2 ... in order for each output, so any tiling gives the same bits.
//
// Kernels are noexcept, never allocate, and work on plain pointers; src/ops checks shapes. Rows may start at any
// address. Names of dimensions: rows are tokens, cols are channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "igq/isa.h"

namespace igq::kernels {

/// Columns of one packed fp32 panel.
inline constexpr int kFloatPanel = 16;
/// Columns of one byte panel handed to `byte_gemm` at a time.
inline constexpr int kBytePanel = 64;
/// Channels a group is padded to at least, in the order handed to `pack_bytes` and `permute_codes`.
inline constexpr int kGroupAlign = 4;

/// Rows of zero-points (ByteGemm::zero_rows): the three bytes, lowest first, of m * (z + kZeroOffset), and m, for every
/// slot's zero-point z (-kZeroOffset to kZeroOffset - 256) and multiple m (1 to 255).
inline constexpr int kZeroRows = 4;
inline constexpr std::uint32_t kZeroOffset = 32768;

/// What quantize_multiples stores.
enum class CodeForm { kCodes, kProducts };

enum class Activation { kGelu, kGeluTanh, kQuickGelu, kSilu, kRelu };

/// Bits of one product decide the inner loop: `a_max` the largest activation code, `w_abs_max` the largest magnitude of
/// a weight code. Low products may be summed in 16 bits before they are widened.
struct CodeRange {
  int a_max;
  int w_abs_max;
};

/// A matrix in memory: row t begins at data + t * stride.
template <class T>
struct MatrixView {
  T* data;
  std::int64_t stride;
  int rows, cols;

  MatrixView rows_from(int t) const { return {data + t * stride, stride, rows - t, cols}; }
  MatrixView columns_from(int c) const { return {data + c, stride, rows, cols - c}; }
  operator MatrixView<const T>() const { return {data, stride, rows, cols}; }
};

/// code = clamp(rint(x * inv_scale) + zero, 0, q_max), one quantizer per column or row.
struct Quantizers {
  const float *inv_scale, *zero;
  int q_max;
};

struct LayerNorm {
  const float *gamma, *beta;  ///< [cols]
  float eps;
};

/// What softmax is taken of: scale * x + bias[t][c].
struct Logits {
  float scale;        ///< above 0
  const float* bias;  ///< [rows][ldb] or null
  std::int64_t ldb;

  Logits rows_from(int t) const { return {scale, bias != nullptr ? bias + t * ldb : nullptr, ldb}; }
};

/// y[t][n] = (accumulate ? y[t][n] : bias ? bias[n] : 0) + sum_k x[t][k] * w[k][n] by fma, k ascending, for rows
/// [0, rows) and panels [panel_begin, panel_end) of a packed w with n columns in total.
struct FloatGemm {
  const float* x;  ///< [rows][k]
  std::int64_t ldx;
  int rows, k;
  const float* packed;  ///< what pack_f32 wrote
  int panel_begin, panel_end;
  int n;
  const float* bias;  ///< [n] or null
  bool accumulate;
  float* y;  ///< column 0
  std::int64_t ldy;
};

/// Weights that become a panel: `cols` columns, 1 to kBytePanel, of signed codes.
struct PanelSource {
  const std::int8_t* w;
  std::int64_t ldw;
  int cols;
  CodeRange range;
};

/// The channels of a byte product in the order in which it adds them up.
struct SlotGroups {
  const std::int32_t* order;  ///< [slots]: a slot's channel, below 0 for padding
  int slots;
  const std::int16_t*
      zero;  ///< [slots], or null where all are zero: the code that stands for real zero, -768..1023, 0 at padding
  const std::int32_t* group_end;  ///< [groups]: as ByteGemm::group_end
  int groups;
  const float* group_scale = nullptr;  ///< [groups], for row sums
};

/// Groups that share a scale (quant/grouping.h, Grouping::kScale), ascending; arrays [count].
struct ScaleGroups {
  int count;
  const float* widest;             ///< a group's widest range; wider ones than the last group's are in it too
  const float *scale, *inverse;    ///< inverse = 1 / scale
  const float *multiple, *copies;  ///< handed on to channels; null: not wanted
  int q_max;
  float zero_min, zero_max;  ///< limits of zero-points
  float offset_width;        ///< a channel is as wide as max(mx - mn, offset_width * |mn + mx|)
};
/// The quantizers of channels, each array [channels]; zero-points are integers.
struct ScaledChannels {
  float *scale, *inv_scale, *zero;
  std::int32_t* group;
  float* multiple;
  std::int32_t* copies;
};

/// One image, one panel of kBytePanel output columns: y[t][n] for t in [0, rows).
///   S_g[t][n] = sum over slots k of group g of (a[t][k] - zero[k]) * w[k][n]          exact in int32
///   v         = fma chain over g in order: v = fma(float(S_g), group_scale[g], v), v starting at 0;
///               with `multiples`, whose groups share a unit: v = float(sum over g of multiples[g] * S_g) *
///               group_scale[0], the sum in int32 (modulo 2^32: callers see to it that the whole fits)
///   v         = fma(-col_zero[n], row_sum[t], v)                                     when row_sum is given
///   out       = fma(v * row_scale[t], col_scale[n], bias[n])                         row_scale 1 / bias 0 when null
///   y[t][n]   = out, or with `add` fma(gamma[n], out, y[t][n])                       gamma 1 when null
struct ByteGemm {
  const std::uint8_t* a;  ///< codes [rows][lda] in slot order (see permute_codes); lda a multiple of 4
  std::int64_t lda;
  int rows;
  const void* panel;                ///< what pack_bytes wrote
  const std::int32_t* corrections;  ///< [groups][kBytePanel]: -sum of zero[k] * w[k][n] over the group, from pack_bytes
  int groups;
  const std::int32_t*
      group_end;             ///< [groups]: slot at which the group ends, multiples of kGroupAlign; empty groups allowed
  const float* group_scale;  ///< [groups]; with `multiples` the first alone is read
  const std::int32_t* multiples;  ///< [groups] or null
  const std::uint8_t*
      extra;  ///< null, or more slots of the one group, [rows][extra_lda]: codes that are counted more than once
  std::int64_t extra_lda;
  const void* extra_panel;  ///< their weights, what repeat_slots wrote
  int extra_slots;          ///< a multiple of extra_align()
  bool zero_rows;  ///< kZeroRows rows of zero-points, bytes up to 255, lie before row 0 of `a` and of `extra`, and -sum
                   ///< of m z w over
                   ///<   the slots is added to the corrections (one group, no multiples, int32 as for them)
  const float* row_scale;  ///< [rows] or null
  const float* row_sum;    ///< [rows] or null
  const float* col_zero;   ///< [kBytePanel]; read only when row_sum is given
  const float* col_scale;  ///< [kBytePanel]
  const float* bias;       ///< [kBytePanel] or null
  bool add;                ///< outputs are added to y, the end of a residual branch
  const float* gamma;      ///< [cols] or null; read only with `add`
  float* y;                ///< [rows][ldy], first of the panel's columns; may be null when only `sums` are wanted
  std::int64_t ldy;
  int cols;  ///< valid columns, 1 to kBytePanel; others are not written
  CodeRange range;
  const std::int8_t* next;   ///< null, or next_rows rows of weights, next_stride apart, to fetch into the cache
  std::int64_t next_stride;  ///<   meanwhile: those that the panel after this one is gathered from
  int next_rows;
  std::int32_t* sums;  ///< null, or [groups][rows][kBytePanel]: S_g as well (tests and comparisons)
};

/// The kernels of an instruction set: function pointers and nothing else, none of them null (is_complete).
struct KernelFunctions {
  // ---- fp32 matrix product -------------------------------------------------------------------------------------
  /// Packs w[k][n] (row stride ldw; or w given transposed as [n][k] when `transposed`) into ceil(n/16) panels
  /// [panel][k][16], missing columns zero. `out` holds ceil(n/16)*16*k floats.
  void (*pack_f32)(const float* w, std::int64_t ldw, bool transposed, int k, int n, float* out) noexcept;
  void (*gemm_f32)(const FloatGemm& args) noexcept;

  // ---- byte matrix product -------------------------------------------------------------------------------------
  /// Bytes of a panel with `slots` contraction slots in `groups` groups for this code range.
  std::size_t (*panel_bytes)(int slots, int groups, CodeRange range) noexcept;
  /// Gathers a panel: column c of slot k is w[order[k]][c] (w row major [channels][ldw], signed codes), zero where
  /// order[k] < 0 (padding) or c >= cols. Also writes corrections[g][c] = -sum over slots of g of zero[k] * w. zero (a
  /// word less 256 either way, 0 at padding) may be null: all zero.
  void (*pack_bytes)(const PanelSource& from, const SlotGroups& slots, void* panel, std::int32_t* corrections) noexcept;
  /// The same from w given transposed, w[c][k] with row stride ldw (c = column): used for q.k^T, no order, one group.
  void (*pack_bytes_transposed)(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                                void* panel, std::int32_t* corrections) noexcept;
  void (*byte_gemm)(const ByteGemm& args) noexcept;
  /// The weights of slots order[0 .. count) of a panel of one group, packed once more as the panel of `extra_slots` =
  /// count; zero where order is below 0. `out` holds panel_bytes(count, 1, range) bytes.
  void (*repeat_slots)(const void* panel, int slots, const std::int32_t* order, int count, CodeRange range,
                       void* out) noexcept;
  /// As permute_codes without row sums, for an order that ascends but for what is below 0 at its end.
  void (*repeat_codes)(const std::uint8_t* codes, std::int64_t ldc, int rows, const std::int32_t* order, int count,
                       std::uint8_t* out, std::int64_t ldo) noexcept;

  // ---- quantization ---------------------------------------------------------------------------------------------
  /// The quantizers of ranges [lower, upper], as make_quantizer() has them (quant/uniform.h); each array [count].
  void (*range_quantizers)(const float* lower, const float* upper, int count, int q_max, float* scale, float* inv_scale,
                           float* zero) noexcept;
  /// The quantizers of channels with ranges [mn, mx], each in the first group that is wide enough, as
  /// make_centred_quantizer() has them with that group's scale.
  void (*scale_quantizers)(const ScaleGroups& groups, const float* mn, const float* mx, int count,
                           const ScaledChannels& out) noexcept;
  /// Codes of x [rows][ldx] in natural channel order, codes [rows][ldc]: a quantizer per channel. NaN gives 0. |zero|
  /// is at most 32,511, 256 less than a word.
  void (*quantize_channels)(const MatrixView<const float>& x, const Quantizers& channels, std::uint8_t* codes,
                            std::int64_t ldc) noexcept;
  /// Codes and their channel's multiple m[c] (1 to 255; null: all 1), where scales are multiples of one unit. `form`:
  /// codes alone, or products m[c] * code, which fit a byte. sums (null: not wanted) [rows] has sum over c of m[c] *
  /// code added to it, whatever the form.
  void (*quantize_multiples)(const MatrixView<const float>& x, const Quantizers& channels, const float* m,
                             CodeForm form, std::uint8_t* codes, std::int64_t ldc, std::int32_t* sums) noexcept;
  /// The rows of zero-points of natural order (ByteGemm::zero_rows): rows [kZeroRows][stride] from zero and m [cols].
  void (*zero_rows)(const float* zero, const float* m, int cols, std::uint8_t* rows, std::int64_t stride) noexcept;
  /// As quantize_channels with one quantizer per row.
  void (*quantize_rows)(const MatrixView<const float>& x, const Quantizers& rows, std::uint8_t* codes,
                        std::int64_t ldc) noexcept;
  /// out[t][k] = codes[t][order[k]], 0 where order[k] < 0; row_sum[t] (null: not wanted) = fma chain over groups of
  /// float(sum over the group's slots of (code - zero[k])) * group_scale[g].
  void (*permute_codes)(const std::uint8_t* codes, std::int64_t ldc, int rows, const SlotGroups& slots,
                        std::uint8_t* out, std::int64_t ldo, float* row_sum) noexcept;
  /// x_hat[t][c] = (code - zero[c]) * scale[c] in place: what simulation computes with. Codes as quantize_channels.
  void (*fake_quantize_channels)(const MatrixView<float>& x, const float* scale, const Quantizers& channels) noexcept;
  void (*fake_quantize_rows)(const MatrixView<float>& x, const float* scale, const Quantizers& rows) noexcept;
  /// sums[t] = sum of the row's codes - cols * zero; exact while below 2^24.
  void (*code_sums)(const std::uint8_t* codes, std::int64_t ldc, int rows, int cols, int zero, float* sums) noexcept;
  /// Codes become signed in place, code - offset: the signed operand of a byte product.
  void (*offset_codes)(std::uint8_t* codes, std::int64_t count, int offset) noexcept;
  /// Unpacks `count` codes of `bits` (2 to 8) from a little-endian bit stream into signed codes: code - 2^(bits-1).
  void (*unpack_codes)(const std::uint8_t* packed, std::int64_t count, int bits, std::int8_t* codes) noexcept;

  // ---- rows of floats -------------------------------------------------------------------------------------------
  /// Per-channel minimum and maximum over rows, merged into mn/mx [cols] (the caller initialises them).
  void (*channel_range)(const float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept;
  /// Per-row minimum and maximum.
  void (*row_range)(const float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept;
  /// y[t][c] = x[t][c] - mean[c], with mean[c] = the sum over rows, in their order, divided by their number, and y's
  /// channel range merged into mn/mx.
  void (*centre_channels)(const float* x, std::int64_t ldx, int rows, int cols, float* mean, float* y, std::int64_t ldy,
                          float* mn, float* mx) noexcept;
  /// Layer norm over cols: y = (x - mean) * rsqrt(var + eps) * gamma + beta (biased variance, two passes). When mn/mx
  /// are given the output's channel range is merged into them. Row t becomes row y_rows[t] of y, t where y_rows is
  /// null; y may be x then.
  void (*layer_norm)(const MatrixView<const float>& x, const LayerNorm& norm, float* y, std::int64_t ldy,
                     const std::int32_t* y_rows, float* mn, float* mx) noexcept;
  /// y = f(x) elementwise in place; channel range of the result merged into mn/mx when given.
  void (*activate)(Activation kind, float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept;
  /// Softmax over each row of logits in place; row_max (null: not wanted) gets the largest probability of each row.
  void (*softmax_rows)(const MatrixView<float>& x, const Logits& logits, float* row_max) noexcept;
  /// softmax_rows in two parts, for integer attention: x = exp(logit - largest logit of the row) in place, and
  /// inverse[t] = 1 / the row's sum, which also is the row's largest probability ...
  void (*softmax_exp)(const MatrixView<float>& x, const Logits& logits, float* inverse) noexcept;
  /// ... then codes of the probabilities x * inverse[t] as quantize_rows with zero-points 0 gives them, and their sum
  /// per row (exact for up to 65,000 columns).
  void (*softmax_codes)(const MatrixView<const float>& x, const float* inverse, const float* inv_scale, int q_max,
                        std::uint8_t* codes, std::int64_t ldc, float* code_sum) noexcept;
  /// Softmax and codes in one, where every row has a scale of its own, with which its largest probability gets the
  /// largest code: codes[t][c] = rint(q_max * exp(logit - largest logit)), a probability of codes * row_scale[t], and
  /// the sum of the codes per row. x is only read; exponentials are within 1e-6 relative. NaN in a row makes row_scale
  /// NaN.
  void (*softmax_row_codes)(const MatrixView<const float>& x, const Logits& logits, int q_max, std::uint8_t* codes,
                            std::int64_t ldc, float* row_scale, float* code_sum) noexcept;
  /// x[t][c] += gamma[c] * r[t][c] (gamma null: 1), written as fma.
  void (*add_residual)(float* x, std::int64_t ldx, const float* r, std::int64_t ldr, int rows, int cols,
                       const float* gamma) noexcept;
  /// SwiGLU: y[t][c] = silu(x[t][c]) * x[t][cols + c].
  void (*swiglu)(const float* x, std::int64_t ldx, int rows, int cols, float* y, std::int64_t ldy) noexcept;
};

/// What an instruction set's tiles make fast; results do not depend on them.
struct TileSizes {
  /// Rows that attention takes from scores to outputs at a time, so that their scores stay in the nearest caches: a
  /// multiple of the rows of the byte tiles.
  int row_block;
  /// Channels a group is best padded to, a multiple of kGroupAlign.
  int group_align;
};

struct Kernels : KernelFunctions, TileSizes {};

/// Whether an instruction set filled its whole table: no null pointer and no size of 0.
bool is_complete(const Kernels& kernels);

/// What ByteGemm::extra_slots are a multiple of, beside a panel of so many slots.
inline int extra_align(const Kernels& kernels, int slots) {
  return slots < kernels.group_align ? slots : kernels.group_align;
}

/// The table of an instruction set that this machine runs, which parse_isa() and best_isa() see to.
const Kernels& kernels_for(Isa isa);

}  // namespace igq::kernels
