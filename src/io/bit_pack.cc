#include "io/bit_pack.h"

#include <bit>
#include <cassert>
#include <cstring>

#include "igq/isa.h"
#include "kernels/table.h"

namespace igq {
static_assert(std::endian::native == std::endian::little, "the .igq format is little-endian");

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
  assert(bits >= kMinCodeBits && bits <= kMaxCodeBits);
  assert(packed.size() == packed_size(codes.size(), bits));
  static const kernels::Kernels& table = kernels::kernels_for(best_isa());
  table.unpack_codes(reinterpret_cast<const std::uint8_t*>(packed.data()), static_cast<std::int64_t>(codes.size()),
                     bits, codes.data());
}

}  // namespace igq
