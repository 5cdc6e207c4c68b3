// The table of kernels: one set of function pointers per instruction set, chosen once at run time.
//
// Every kernel gives the same bits on every instruction set. Integers are exact. Float kernels are written once over a
// virtual vector of 16 lanes (vec16.h): elementwise work is lane by lane, a reduction over a row keeps 16 partial sums
// (lane = index mod 16) that are added in one fixed tree, and every fused multiply-add is written as such. A matrix
// product adds k = 0, 1, 2 ... in order for each output, so any tiling gives the same bits.
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

struct Kernels {
  Isa isa;

  // ---- fp32 matrix product -------------------------------------------------------------------------------------
  /// Packs w[k][n] (row stride ldw; or w given transposed as [n][k] when `transposed`) into ceil(n/16) panels
  /// [panel][k][16], missing columns zero. `out` holds ceil(n/16)*16*k floats.
  void (*pack_f32)(const float* w, std::int64_t ldw, bool transposed, int k, int n, float* out) noexcept;
  /// y[t][n] = (accumulate ? y[t][n] : bias ? bias[n] : 0) + sum_k x[t][k] * w[k][n] by fma, k ascending, for rows
  /// [0, rows) and panels [panel_begin, panel_end) of a packed w with n columns in total. y points at column 0.
  void (*gemm_f32)(const float* x, std::int64_t ldx, int rows, int k, const float* packed, int panel_begin,
                   int panel_end, int n, const float* bias, bool accumulate, float* y, std::int64_t ldy) noexcept;

  // ---- byte matrix product -------------------------------------------------------------------------------------
  /// Rows that attention takes from scores to outputs at a time, so that their scores stay in the nearest caches: a
  /// multiple of the rows of the byte tiles.
  int row_block = 56;
  /// Channels a group is best padded to, a multiple of kGroupAlign: any such multiple gives the same bits, this one is
  /// fast.
  int group_align = kGroupAlign;
  /// Bytes of a panel with `slots` contraction slots in `groups` groups for this code range.
  std::size_t (*panel_bytes)(int slots, int groups, CodeRange range) noexcept;
  /// Gathers a panel: column c of slot k is w[order[k]][n0 + c] (w row major [channels][ldw], signed codes), zero where
  /// order[k] < 0 (padding) or c >= cols. Also writes corrections[g][c] = -sum over slots of g of zero[k] * w.
  /// `zero` [slots] (code that stands for real zero, in slot order, a word less 256 either way, 0 at padding) may be
  /// null: all zero.
  void (*pack_bytes)(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots,
                     const std::int16_t* zero, const std::int32_t* group_end, int groups, int cols, CodeRange range,
                     void* panel, std::int32_t* corrections) noexcept;
  /// The same from w given transposed, w[c][k] with row stride ldw (c = column): used for q.k^T, no order, one group.
  void (*pack_bytes_transposed)(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots,
                                const std::int16_t* zero, int cols, CodeRange range, void* panel,
                                std::int32_t* corrections) noexcept;
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
  /// code[t][c] = clamp(rint(x[t][c] * inv_scale[c]) + zero[c], 0, q_max), rint to even; NaN gives 0.
  /// x [rows][ldx] -> codes [rows][ldc], natural channel order. |zero| is at most 32,511, 256 less than a word.
  void (*quantize_channels)(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale,
                            const float* zero, int q_max, std::uint8_t* codes, std::int64_t ldc) noexcept;
  /// Codes and their channel's multiple m[c] (1 to 255; null: all 1), where scales are multiples of one unit. `form`:
  /// codes alone, or products m[c] * code, which fit a byte. sums (null: not wanted) [rows] has sum over c of m[c] *
  /// code added to it, whatever the form.
  void (*quantize_multiples)(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale,
                             const float* zero, const float* m, int q_max, CodeForm form, std::uint8_t* codes,
                             std::int64_t ldc, std::int32_t* sums) noexcept;
  /// The rows of zero-points of natural order (ByteGemm::zero_rows): rows [kZeroRows][stride] from zero and m [cols].
  void (*zero_rows)(const float* zero, const float* m, int cols, std::uint8_t* rows, std::int64_t stride) noexcept;
  /// As quantize_channels with one quantizer per row: inv_scale[rows], zero[rows].
  void (*quantize_rows)(const float* x, std::int64_t ldx, int rows, int cols, const float* inv_scale, const float* zero,
                        int q_max, std::uint8_t* codes, std::int64_t ldc) noexcept;
  /// out[t][k] = codes[t][order[k]], 0 where order[k] < 0; row_sum[t] (null: not wanted) = fma chain over groups of
  /// float(sum over the group's slots of (code - zero[k])) * group_scale[g]. zero as in pack_bytes.
  void (*permute_codes)(const std::uint8_t* codes, std::int64_t ldc, int rows, const std::int32_t* order, int slots,
                        const std::int16_t* zero, const std::int32_t* group_end, const float* group_scale, int groups,
                        std::uint8_t* out, std::int64_t ldo, float* row_sum) noexcept;
  /// x_hat[t][c] = (code - zero[c]) * scale[c] in place: what simulation computes with. Codes as quantize_channels.
  void (*fake_quantize_channels)(float* x, std::int64_t ldx, int rows, int cols, const float* scale,
                                 const float* inv_scale, const float* zero, int q_max) noexcept;
  void (*fake_quantize_rows)(float* x, std::int64_t ldx, int rows, int cols, const float* scale, const float* inv_scale,
                             const float* zero, int q_max) noexcept;
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
  void (*layer_norm)(const float* x, std::int64_t ldx, int rows, int cols, const float* gamma, const float* beta,
                     float eps, float* y, std::int64_t ldy, const std::int32_t* y_rows, float* mn, float* mx) noexcept;
  /// y = f(x) elementwise in place; channel range of the result merged into mn/mx when given.
  void (*activate)(Activation kind, float* x, std::int64_t ldx, int rows, int cols, float* mn, float* mx) noexcept;
  /// Softmax over each row in place of scale * x + bias[t][c] (scale above 0, bias [rows][ldb] may be null); row_max
  /// (null: not wanted) gets the largest probability of each row.
  void (*softmax_rows)(float* x, std::int64_t ldx, int rows, int cols, float scale, const float* bias, std::int64_t ldb,
                       float* row_max) noexcept;
  /// softmax_rows in two parts, for integer attention: x = exp(logit - largest logit of the row) in place, and
  /// inverse[t] = 1 / the row's sum, which also is the row's largest probability ...
  void (*softmax_exp)(float* x, std::int64_t ldx, int rows, int cols, float scale, const float* bias, std::int64_t ldb,
                      float* inverse) noexcept;
  /// ... then codes of the probabilities x * inverse[t] as quantize_rows with zero-points 0 gives them, and their sum
  /// per row (exact for up to 65,000 columns).
  void (*softmax_codes)(const float* x, std::int64_t ldx, int rows, int cols, const float* inverse,
                        const float* inv_scale, int q_max, std::uint8_t* codes, std::int64_t ldc,
                        float* code_sum) noexcept;
  /// Softmax and codes in one, where every row has a scale of its own, with which its largest probability gets the
  /// largest code: codes[t][c] = rint(q_max * exp(logit - largest logit)), a probability of codes * row_scale[t], and
  /// the sum of the codes per row. x is only read; exponentials are within 1e-6 relative. NaN in a row makes row_scale
  /// NaN.
  void (*softmax_row_codes)(const float* x, std::int64_t ldx, int rows, int cols, float scale, const float* bias,
                            std::int64_t ldb, int q_max, std::uint8_t* codes, std::int64_t ldc, float* row_scale,
                            float* code_sum) noexcept;
  /// x[t][c] += gamma[c] * r[t][c] (gamma null: 1), written as fma.
  void (*add_residual)(float* x, std::int64_t ldx, const float* r, std::int64_t ldr, int rows, int cols,
                       const float* gamma) noexcept;
  /// SwiGLU: y[t][c] = silu(x[t][c]) * x[t][cols + c].
  void (*swiglu)(const float* x, std::int64_t ldx, int rows, int cols, float* y, std::int64_t ldy) noexcept;
};

/// What ByteGemm::extra_slots are a multiple of, beside a panel of so many slots.
inline int extra_align(const Kernels& kernels, int slots) {
  return slots < kernels.group_align ? slots : kernels.group_align;
}

/// The table of an instruction set. Asserts that it is built in; callers pass what parse_isa() or best_isa() gave.
const Kernels& kernels_for(Isa isa);

}  // namespace igq::kernels
