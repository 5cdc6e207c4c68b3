#include "io/bit_pack.h"

#include <bit>
#include <cassert>
#include <cstring>

namespace igq {
namespace {

static_assert(std::endian::native == std::endian::little, "the .igq format is little-endian");

// Eight codes take exactly `bits` bytes, so blocks of eight start at whole bytes.
template <int kBits>
void unpack_blocks(const std::byte* packed, std::size_t count, std::int8_t* codes) {
  constexpr int kMask = (1 << kBits) - 1;
  constexpr int kOffset = 1 << (kBits - 1);
  for (std::size_t i = 0; i < count; i += 8) {
    const std::size_t n = count - i < 8 ? count - i : 8;
    std::uint64_t word = 0;
    std::memcpy(&word, packed, n == 8 ? kBits : (n * kBits + 7) / 8);
    packed += kBits;
    for (std::size_t j = 0; j < n; ++j) {
      codes[i + j] = static_cast<std::int8_t>(static_cast<int>((word >> (j * kBits)) & kMask) - kOffset);
    }
  }
}

}  // namespace

AlignedBuffer<std::byte> pack_codes(std::span<const std::int8_t> codes, int bits) {
  assert(bits >= kMinCodeBits && bits <= kMaxCodeBits);
  AlignedBuffer<std::byte> packed(packed_size(codes.size(), bits));
  const int offset = 1 << (bits - 1);
  std::size_t out = 0;
  for (std::size_t i = 0; i < codes.size(); i += 8) {
    const std::size_t n = codes.size() - i < 8 ? codes.size() - i : 8;
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const int code = codes[i + j] + offset;
      assert(code >= 0 && code < 2 * offset);
      word |= static_cast<std::uint64_t>(code) << (j * static_cast<std::size_t>(bits));
    }
    const std::size_t bytes = packed_size(n, bits);
    std::memcpy(packed.data() + out, &word, bytes);
    out += bytes;
  }
  return packed;
}

void unpack_codes(std::span<const std::byte> packed, int bits, std::span<std::int8_t> codes) {
  assert(packed.size() == packed_size(codes.size(), bits));
  switch (bits) {
    case 2: return unpack_blocks<2>(packed.data(), codes.size(), codes.data());
    case 3: return unpack_blocks<3>(packed.data(), codes.size(), codes.data());
    case 4: return unpack_blocks<4>(packed.data(), codes.size(), codes.data());
    case 5: return unpack_blocks<5>(packed.data(), codes.size(), codes.data());
    case 6: return unpack_blocks<6>(packed.data(), codes.size(), codes.data());
    case 7: return unpack_blocks<7>(packed.data(), codes.size(), codes.data());
    case 8: return unpack_blocks<8>(packed.data(), codes.size(), codes.data());
    default: assert(false);
  }
}

}  // namespace igq
