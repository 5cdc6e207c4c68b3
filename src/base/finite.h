// Whether floats are numbers: neither infinite nor NaN.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace igq {

/// By the bits, so that compilers make one pass of vector code out of it whatever they assume of NaN.
inline bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000u;
  std::uint32_t fault = 0;
  for (const float v : values) fault |= (std::bit_cast<std::uint32_t>(v) & kExponent) == kExponent ? 1u : 0u;
  return fault == 0;
}

}  // namespace igq
