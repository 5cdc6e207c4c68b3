// Quantizers of channels and rows from their ranges, which every image has anew, written once over V (generic/vec16.h):
// the formulas of quant/uniform.h, sixteen at a time. Contracts are in table.h.
#pragma once

#include "kernels/table.h"
#include "kernels/generic/row_columns.h"

namespace igq::kernels {
namespace {

/// p[0, n) = lanes that hold integers.
template <bool kFull, class V>
inline void store_integers(V lanes, std::int32_t* p, int n) {
  float values[16];
  lanes.store(values);
  for (int i = 0; i < (kFull ? 16 : n); ++i) p[i] = static_cast<std::int32_t>(values[i]);
}

template <class V>
void range_quantizers(const float* lower, const float* upper, int count, int q_max, float* scale, float* inv_scale,
                      float* zero) noexcept {
  const V none = V::splat(0), one = V::splat(1), top = V::splat(static_cast<float>(q_max)),
          infinity = V::splat(__builtin_inff());
  for_columns(count, [&]<bool kFull>(int c, int n) {
    const V low = V::min(load_lanes<kFull, V>(lower + c, n), none),
            high = V::max(load_lanes<kFull, V>(upper + c, n), none);
    const V s = (high - low) / top, inverse = one / s;
    const auto if_usable = [&](V value, V otherwise) {
      return V::select(
          V::less(none, s),
          V::select(V::less(s, infinity), V::select(V::less(inverse, infinity), value, otherwise), otherwise),
          otherwise);
    };
    store_lanes<kFull>(if_usable(s, one), scale + c, n);
    store_lanes<kFull>(if_usable(inverse, one), inv_scale + c, n);
    store_lanes<kFull>(if_usable(V::round(V::min((none - low) * inverse, top)), none), zero + c, n);
  });
}

template <class V>
void scale_quantizers(const ScaleGroups& groups, const float* mn, const float* mx, int count,
                      const ScaledChannels& out) noexcept {
  const V half = V::splat(static_cast<float>(groups.q_max) * 0.5f), a_half = V::splat(0.5f),
          least = V::splat(groups.zero_min), most = V::splat(groups.zero_max), offset = V::splat(groups.offset_width);
  for_columns(count, [&]<bool kFull>(int c, int n) {
    const V low = load_lanes<kFull, V>(mn + c, n), high = load_lanes<kFull, V>(mx + c, n);
    // NaN of the range's width belongs to the last group, NaN of its middle says nothing.
    const V width = V::min(V::max(V::abs(low + high) * offset, high - low), V::splat(__builtin_inff()));
    V group = V::splat(0), scale = V::splat(groups.scale[0]), inverse = V::splat(groups.inverse[0]);
    V multiple = V::splat(0), copies = V::splat(0);
    if (groups.multiple != nullptr) multiple = V::splat(groups.multiple[0]), copies = V::splat(groups.copies[0]);
    for (int g = 1; g < groups.count; ++g) {
      const auto wider = V::less(V::splat(groups.widest[g - 1]), width);
      group = V::select(wider, V::splat(static_cast<float>(g)), group);
      scale = V::select(wider, V::splat(groups.scale[g]), scale);
      inverse = V::select(wider, V::splat(groups.inverse[g]), inverse);
      if (groups.multiple == nullptr) continue;
      multiple = V::select(wider, V::splat(groups.multiple[g]), multiple);
      copies = V::select(wider, V::splat(groups.copies[g]), copies);
    }
    store_lanes<kFull>(scale, out.scale + c, n);
    store_lanes<kFull>(inverse, out.inv_scale + c, n);
    const V zero = half - (low + high) * a_half * inverse;
    store_lanes<kFull>(V::round(V::min(V::max(zero, least), most)), out.zero + c, n);
    store_integers<kFull>(group, out.group + c, n);
    if (groups.multiple == nullptr) return;
    store_lanes<kFull>(multiple, out.multiple + c, n);
    store_integers<kFull>(copies, out.copies + c, n);
  });
}

}  // namespace
}  // namespace igq::kernels
