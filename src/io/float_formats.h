// 16-bit floats as float32, exactly, subnormals and infinities included.
#pragma once

#include <bit>
#include <cstdint>

namespace igq {

/// bfloat16 is the upper half of a float32.
constexpr float float_of_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// IEEE binary16. Its exponent and fraction shifted into place are a float32 too small by 2^112 (bias 127 - 15); the
/// product with 2^112 is exact and normalizes subnormals. Without branches, so that loops vectorize.
constexpr float float_of_half(std::uint16_t bits) {
  const std::uint32_t magnitude = (bits & 0x7FFFu), sign = (bits & 0x8000u);
  const auto scaled = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  const std::uint32_t special = magnitude >= 0x7C00u ? 0x7F800000u : 0u;  // infinity, NaN
  return std::bit_cast<float>(scaled | special | sign << 16);
}

}  // namespace igq
