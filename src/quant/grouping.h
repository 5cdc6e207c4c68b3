// Assigns the channels of one image to the groups of a site, and its softmax rows to theirs (docs/method.md, sections
// 3, 4 and 8). Simulation and integer execution call the same functions, so their codes are the same by construction.
#pragma once

#include <cstdint>
#include <span>

#include "base/arena.h"
#include "kernels/table.h"
#include "quant/plan.h"

namespace igq {

/// The quantizers of the channels of one FC input for one image. All pointers live in an arena.
struct ChannelQuantizers {
  int channels = 0;
  int groups = 0;
  int q_max = 0;
  int taps = 1;                             ///< slots that each channel has in the contraction (a convolution's kernel)
  float* scale = nullptr;                   ///< [channels]
  float* inv_scale = nullptr;               ///< [channels]
  float* zero = nullptr;                    ///< [channels], integers as float
  std::int32_t* group = nullptr;            ///< [channels]
  float* group_scale = nullptr;             ///< [groups]
  const std::int32_t* multiples = nullptr;  ///< [groups] of the plan, null when scales are free
  /// [channels], null when scales are free: the channel's multiple is multiple * copies. Where the plan fits_slots()
  /// its codes times `multiple` are bytes that are counted `copies` times; elsewhere copies are 1.
  float* multiple = nullptr;
  std::int32_t* copies = nullptr;
  float *group_multiple = nullptr, *group_copies = nullptr;  ///< [groups], likewise
  float *group_inverse = nullptr, *group_widest = nullptr;  ///< [groups], 1 / group_scale and widest range; kScale only
  /// What the image's sums in units are multiplied by: 1, or more where the image's ranges are stretched, or the scale
  /// where it is the image's own; free scales hold it themselves. Its address outlives this.
  float* image_scale = nullptr;
  UniformQuantizer* fixed = nullptr;  ///< [groups] of the plan; null when every channel has its own

  // The order of contraction slots for the byte product: group by group, each padded (see order_slots).
  int slots = 0;
  std::int32_t* order = nullptr;      ///< [slots] channel, -1 for padding
  std::int16_t* slot_zero = nullptr;  ///< [slots]
  std::int32_t* group_end = nullptr;  ///< [groups]
};

/// Groups a plan has for an input of so many channels (upper-bound: one each).
int group_count(const ActivationPlan& plan, int channels);

/// True when a layer with multiples of a unit runs as one byte product in which channels are counted once or several
/// times: every multiple is at most slot_multiple() or a multiple of it, none takes more than kMaxSlots, and int32
/// holds the sum of all slots.
bool fits_slots(const ActivationPlan& plan, int channels);

/// True when the quantizers depend on the image, so that channel ranges must be measured.
bool needs_channel_ranges(const ActivationPlan& plan);

/// True when sums are added up in units: scales are multiples of one, or the image has a single scale.
bool has_unit(const ActivationPlan& plan);

/// The limits of an input's zero-points: those of its plan's version, and such that int32 holds the sums of a group.
ZeroPointLimits zero_point_limits(const ActivationPlan& plan, int channels);

/// The quantizers of an input with their memory, no channel assigned yet.
ChannelQuantizers take_quantizers(const ActivationPlan& plan, int channels, Arena& arena, int taps = 1);

/// The quantizers of a contraction over `q.taps` values of each channel, (tap, channel): all taps of a channel share
/// its quantizer and group. `q` itself where there is one tap.
ChannelQuantizers repeat_taps(const ChannelQuantizers& q, Arena& arena);

/// Quantizers of channels [begin, end), which depend on nothing else; mn, mx [end - begin] are the image's ranges of
/// these channels (not read, may be null, unless needs_channel_ranges). kIgq: channel c goes to
/// argmin_i (max_c - u_i)^2 + (min_c - l_i)^2, the lowest i of equals.
void assign_channels(const ActivationPlan& plan, const kernels::Kernels& kernels, ChannelQuantizers& q, int begin,
                     int end, const float* mn, const float* mx);

/// What assign_channels() of some channels at a time cannot do, as it needs all ranges: the image's stretch of all
/// scales
/// (`unclipped`) or its one scale (`from_image`). True when that changes a quantizer: then all are assigned anew.
bool fit_image(const ActivationPlan& plan, const kernels::Kernels& kernels, ChannelQuantizers& q, const float* mn,
               const float* mx);

/// All three, for all channels.
ChannelQuantizers assign_channels(const ActivationPlan& plan, const kernels::Kernels& kernels, int channels,
                                  const float* mn, const float* mx, Arena& arena);

/// Fills order, slot_zero and group_end: channels ascending within a group, each group padded to a multiple of `align`
/// (kernels.group_align; one group alone to kGroupAlign, it needs no more).
void order_slots(ChannelQuantizers& q, int align, Arena& arena);

/// Quantizers of softmax rows: scale and inv_scale [rows], zero-point 0. `row` counts within one attention map of
/// `rows` rows; row_max [rows]. kIgq: argmin_i (row_max - u_i)^2.
void assign_rows(const ActivationPlan& plan, int rows, const float* row_max, float* scale, float* inv_scale);
/// The same for rows [begin, end) alone; row_max, scale and inv_scale start at row `begin`.
void assign_rows(const ActivationPlan& plan, int begin, int end, int rows, const float* row_max, float* scale,
                 float* inv_scale);

}  // namespace igq
