// Bit operations of a quantized model (docs/method.md, section 6): what a number of groups costs.
//
//   FC layer          Cin Cout N w a            products of w-bit weights and a-bit activations
//   attention         heads N N d (a a + a a)   both products, per window
//   G > 1 groups      32 G N Cout               FC only: one fp32 addition per group and output sums the G products
//                     32 (2 N Cin + 6 Cin G)    FC: minimum and maximum per channel; per channel and group the distance
//                                               (max - u)^2 + (min - l)^2 (5 operations) and a comparison
//                     32 (N N + 3 N G) heads    softmax: maximum per row; per row and group (max - u)^2 and a
//                     comparison
//
// Every fp32 operation besides the products counts 32, every fp32 product of a layer that stays float 32 x 32. One
// group is the conventional quantizer: its scale multiplies the finished sum, so it needs no additions, ranges or
// assignment. The scale of a softmax row belongs to the output row, so row groups need no additions either (section 4).
// Norms, softmax, GELU, biases and residuals are the same at every setting and are not counted. With this, 16 groups in
// every layer of DeiT-B at w4a4 cost 3.35 % more than one group; the paper says 3.3 %.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "calibration/calibrate.h"
#include "models/registry.h"

namespace igq {

/// How one site is quantized, as far as its cost goes. 32 bits: float.
struct SiteSetting {
  int weight_bits = 32;      ///< FC layers; of an attention the bits of q, k and v
  int activation_bits = 32;  ///< FC inputs; of an attention the bits of the softmax
  Grouping grouping = Grouping::kFloat;
  int groups = 1;
};

/// The setting make_plan() gives the site of this shape; groups clamped as there.
SiteSetting site_setting(const SiteShape& shape, const QuantizeOptions& options);
/// Whether the number of groups is a choice at this site: igq, scale or static groups, more than one row, not float,
/// and not the fixed set of integer ratios.
bool has_group_choice(const SiteShape& shape, const QuantizeOptions& options);

/// Whether the bits of this site are a choice of an allocation of bits: quantized, not patch embedding or head (which
/// have bits of their own), and not given by options.site_bits.
bool has_bit_choice(const SiteShape& shape, const QuantizeOptions& options);

struct SiteBops {
  std::string name;
  bool attention = false;
  SiteSetting setting;
  std::int64_t products = 0;   ///< multiply-adds times the bits of both operands
  std::int64_t additions = 0;  ///< partial sums of the groups
  std::int64_t grouping = 0;   ///< ranges and assignment
  std::int64_t total() const { return products + additions + grouping; }
};

SiteBops site_bops(const SiteShape& shape, const SiteSetting& setting);

struct BopsTable {
  std::vector<SiteBops> sites;  ///< in the order of the shapes
  std::int64_t total = 0;
  std::int64_t one_group = 0;    ///< the same bits with one group in every layer
  std::int64_t float_total = 0;  ///< 32 x 32 bits
  /// What the groups add to the one-group model, in percent of it.
  double overhead_percent() const;
};

BopsTable count_bops(std::span<const SiteShape> shapes, const QuantizeOptions& options);

}  // namespace igq
