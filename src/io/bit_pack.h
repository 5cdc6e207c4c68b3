// Weight codes as a bit stream: code i occupies bits [i * bits, (i + 1) * bits), least significant bit first, of a
// little-endian stream. Stored codes are unsigned: signed code + 2^(bits-1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"

namespace igq {

inline constexpr int kMinCodeBits = 2, kMaxCodeBits = 8;

/// Bytes of `count` packed codes. The caller has made sure that count * bits does not overflow.
constexpr std::uint64_t packed_size(std::uint64_t count, int bits) {
  return (count * static_cast<std::uint64_t>(bits) + 7) / 8;
}

/// Packs signed codes in [-2^(bits-1), 2^(bits-1) - 1]; the unused bits of the last byte are zero.
AlignedBuffer<std::byte> pack_codes(std::span<const std::int8_t> codes, int bits);

/// The inverse; `packed` holds packed_size(codes.size(), bits) bytes.
void unpack_codes(std::span<const std::byte> packed, int bits, std::span<std::int8_t> codes);

}  // namespace igq
