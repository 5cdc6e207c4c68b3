// QuantizationPlan: everything calibration decides, as plain data. Calibration writes it, the .igq file stores it,
// simulation and integer execution read it.
//
// "Groups" is what the paper calls group size: the number of groups in a layer, not channels per group.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "quant/uniform.h"

namespace igq {

/// How the channels (FC inputs) or rows (softmax) of a site share quantizers; docs/method.md, section 7 and 8.
enum class Grouping {
  kFloat,        ///< not quantized
  kLayer,        ///< one quantizer per site, fixed at calibration
  kStaticGroup,  ///< consecutive channels in G equal groups, map and bounds fixed at calibration
  kIgq,          ///< the paper: G fixed pairs of bounds, the map channel -> group made anew for each image
  kScale,        ///< G fixed scales, the map and one zero-point per channel made anew for each image
  kUpperBound,   ///< one quantizer per channel or row, from the image itself
};

/// How q, k and v share quantizers.
enum class QkvGrouping {
  kFloat,
  kTensor,  ///< one fixed quantizer per operand
  kHead,    ///< one fixed quantizer per operand and head
  kRow,     ///< from the image: q (symmetric) and k one per token, v one per channel
};

std::string_view grouping_name(Grouping grouping);  ///< "float", "layer", "static-group", "igq", "scale", "upper-bound"
Grouping parse_grouping(std::string_view name);     ///< Error lists the names
std::string_view qkv_grouping_name(QkvGrouping grouping);  ///< "float", "tensor", "head", "row"
QkvGrouping parse_qkv_grouping(std::string_view name);

/// Largest multiple of a unit that a group's scale may be: codes of 8 bits times it fit 16 bits.
inline constexpr std::int32_t kMaxMultiple = 255;
/// Most slots of a byte product that one channel may take (slot_multiple), and the steps in which a layer's slots are
/// counted. Both are part of the format (docs/format.md), whatever the tiles of the machine that makes or runs a plan.
inline constexpr std::int32_t kMaxSlots = 16;
/// Most slots of a byte product, of products of 255 * 128 in int32.
inline constexpr std::int32_t kMostSlots = 65536;
inline constexpr int kSlotStep = 64;

/// The quantizers of one FC input or of the softmax rows of one attention.
struct ActivationPlan {
  Grouping grouping = Grouping::kFloat;
  int bits = 8;
  /// Fixed bounds: one for kLayer, G for kStaticGroup and kIgq, G pairs {0, scale * (2^bits - 1)} ascending for kScale,
  /// none for kUpperBound and kFloat.
  std::vector<Bounds> groups;
  /// kScale, FC inputs: when not empty, the scale of group g is multiples[g] (1 to 255, ascending) times `unit`, so
  /// that the groups' sums are added up as integers.
  std::vector<std::int32_t> multiples;
  float unit = 0.0f;
  /// kScale: no range is cut. A channel's group follows from its width and from how far from zero it lies, and an image
  /// with a channel that the widest group does not hold has all its scales stretched until it does. False in files from
  /// before: zero-points are cut to kZeroPointMin .. kZeroPointMax, ranges to that of the widest group.
  bool unclipped = false;
  /// kLayer, FC inputs: the one quantizer holds the image's own range; `groups` has the range at calibration, for
  /// readers of the plan only.
  bool from_image = false;
};

/// The largest multiple of a unit whose products with codes fit a byte, one slot of a byte product.
inline std::int32_t slot_multiple(int bits) { return 255 / ((1 << bits) - 1); }

struct QkvPlan {
  QkvGrouping grouping = QkvGrouping::kFloat;
  int bits = 8;
  std::vector<Bounds> q, k, v;  ///< one (kTensor) or num_heads (kHead) bounds each; empty otherwise
  /// Codes of v minus its mean over the tokens, per head and channel: P v = P (v - mu) + mu, as rows of a softmax sum
  /// to one, so what its codes lose of that sum is lost of v - mu alone. Bounds of v are those of v - mu.
  bool centred = false;
  /// kRow: codes of k less its mean over the tokens, per head and channel, which moves all scores of a row alike, and a
  /// softmax not at all.
  bool centred_k = false;
};

/// Asymmetric codes per output channel: w_hat[o][i] = scale[o] * (codes[i][o] + 2^(code_bits()-1) - zero_point[o]).
///
/// With weight groups (quant/weight_groups.h) every `group_size` consecutive inputs g of an output channel have a
/// multiplier m and a zero-point z of their own over codes c of `bits` bits, and `codes` holds m * (c - z), which fits
/// a signed byte: byte products run on it as on 8-bit weights, while the file keeps c, m and z.
struct WeightPlan {
  int bits = 0;                                      ///< 0: float
  std::vector<float> scale;                          ///< [out]
  std::vector<std::int32_t> zero_point;              ///< [out], 0 .. 2^bits - 1; with groups the middle, 128
  AlignedBuffer<std::int8_t> codes;                  ///< [in][out], signed: code - 2^(bits-1); with groups m * (c - z)
  int group_size = 0;                                ///< inputs per weight group; 0: no groups
  std::vector<std::uint8_t> multiplier, group_zero;  ///< [groups][out]: m and z; empty without groups

  /// Bits of the range that `codes` lie in.
  int code_bits() const { return group_size == 0 ? bits : 8; }
};

struct LinearPlan {
  ActivationPlan input;
  WeightPlan weight;
};

struct AttentionPlan {
  QkvPlan qkv;
  ActivationPlan softmax;
};

/// Keyed by timm module path: "blocks.3.attn.qkv", "head", "layers.2.downsample.reduction"; attentions "blocks.3.attn".
/// A site that is absent runs in float.
struct QuantizationPlan {
  std::map<std::string, LinearPlan> linears;
  std::map<std::string, AttentionPlan> attentions;
};

}  // namespace igq
