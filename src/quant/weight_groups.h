// Weight groups along the inputs, for weights of 2 to 4 bits: in every output channel each group of consecutive inputs
// has an integer multiplier m and a zero-point z over the channel's one scale,
//   w_hat = scale * m * (c - z),   0 <= c < 2^bits,   |m * (c - z)| <= 127,
// so that c expands to a signed byte when the model is loaded and every kernel, permutation of channels and integer sum
// stays as it is: finer weights cost nothing at run time, and 2 * bits to 4 * bits more in the file per group and
// output channel.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quant/plan.h"

namespace igq {

inline constexpr int kMaxGroupedBits = 4;  ///< beyond it a byte leaves no room for multipliers
inline constexpr int kMaxExpandedCode = 127;

/// m of groups whose zero-point is z: at most so large that every code expands to a signed byte.
constexpr int max_multiplier(int bits, int zero) {
  const int above = (1 << bits) - 1 - zero;
  return kMaxExpandedCode / (zero > above ? zero : above);
}
/// Bits that hold every multiplier: 6, 5 and 4 for weights of 2, 3 and 4 bits.
constexpr int multiplier_bits(int bits) { return 8 - bits; }

constexpr int weight_group_count(int in, int group_size) { return (in + group_size - 1) / group_size; }
/// The group size that weights of `bits` bits and `in` inputs really get when `group_size` is asked for: 0 (none) for
/// more than kMaxGroupedBits and where one group would hold all inputs.
constexpr int effective_group_size(int group_size, int bits, int in) {
  return bits >= 2 && bits <= kMaxGroupedBits && group_size < in ? group_size : 0;
}

/// Quantizers of the groups of one output channel.
struct ChannelGroups {
  float scale = 1.0f;
  std::vector<std::uint8_t> multiplier, zero;  ///< [groups]
};

/// The multipliers and zero-points of least sum of importance * (w_hat - w)^2 with weights rounded to nearest. `scale`
/// is `clipping` times what holds the widest group whole. w, importance [in]; an empty importance is 1 for every input.
ChannelGroups search_weight_groups(std::span<const float> w, std::span<const float> importance, int bits,
                                   int group_size, float clipping);

/// All groups with the quantizer of the whole channel (multiplier 1), its bounds times `clipping`: as without groups.
ChannelGroups shared_weight_groups(std::span<const float> w, int bits, int group_size, float clipping);

/// A plan with room for grouped codes: scale, multipliers and zero-points still to be set.
WeightPlan make_grouped_plan(int in, int out, int bits, int group_size);
/// Sets output channel o of a grouped plan, codes aside.
void set_channel_groups(WeightPlan& plan, int o, const ChannelGroups& groups);

/// Each weight to the nearest code of the groups found by search_weight_groups() over `clipping`, the factor of least
/// error per output channel. weight [out][in].
WeightPlan quantize_grouped_weights(std::span<const float> weight, int in, int out, int bits, int group_size,
                                    std::span<const float> clipping);

/// The codes c of a grouped plan, signed as an ungrouped plan's (c - 2^(bits-1)), and the inverse: fills plan.codes
/// from c. Error (without a path) when multipliers, zero-points or codes contradict each other.
AlignedBuffer<std::int8_t> group_codes(const WeightPlan& plan);
void expand_group_codes(WeightPlan& plan, std::span<const std::int8_t> codes);

/// Error (without a path) when sizes, multipliers or zero-points are not those of the header comment.
void check_weight_groups(const WeightPlan& plan);

}  // namespace igq
