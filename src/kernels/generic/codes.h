// Codes in the order of a panel and out of packed bits, one at a time: the definition, and what the faster versions do
// where a shape does not fit them. Contracts are in table.h.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

inline void permute_one_by_one(const std::uint8_t* codes, std::int64_t ldc, int rows, const SlotGroups& slots,
                               std::uint8_t* out, std::int64_t ldo, float* row_sum) {
  for (std::int64_t t = 0; t < rows; ++t) {
    for (int k = 0; k < slots.slots; ++k)
      out[t * ldo + k] = slots.order[k] >= 0 ? codes[t * ldc + slots.order[k]] : std::uint8_t{0};
    if (row_sum == nullptr) continue;
    float v = 0.0F;
    int k = 0;
    for (int g = 0; g < slots.groups; ++g) {
      std::int32_t s = 0;
      for (; k < slots.group_end[g]; ++k) s += out[t * ldo + k] - (slots.zero != nullptr ? slots.zero[k] : 0);
      v = __builtin_fmaf(static_cast<float>(s), slots.group_scale[g], v);
    }
    row_sum[t] = v;
  }
}

/// Codes [from, count) of unpack_codes.
inline void unpack_one_by_one(const std::uint8_t* packed, std::int64_t from, std::int64_t count, int bits,
                              std::int8_t* codes) {
  const unsigned mask = (1U << bits) - 1U;
  const int middle = 1 << (bits - 1);
  for (std::int64_t i = from; i < count; ++i) {
    const std::int64_t bit = i * bits;
    const int shift = static_cast<int>(bit % 8);
    unsigned window = packed[bit / 8];
    if (shift + bits > 8) window |= static_cast<unsigned>(packed[bit / 8 + 1]) << 8;
    codes[i] = static_cast<std::int8_t>(static_cast<int>((window >> shift) & mask) - middle);
  }
}

}  // namespace
}  // namespace igq::kernels
