// The byte family on AVX-512 with the dot instruction (vpdpbusd).
//
// A tile is 7 rows by 32 columns: 14 integer and 14 float sums, two vectors of weights and one of codes fill 31 of the
// 32 registers, so that a group ends with a conversion and an fma per sum and touches no memory.
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_pack512.h"
#include "kernels/bytes_repeat.h"
#include "kernels/bytes_simd512_vnni.h"
#include "kernels/bytes_tile.h"
#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

using Policy = Dot<TileShape<Simd512Vnni, 7>>;
using Pack = Pack512<Simd512Vnni>;

std::size_t panel_bytes(int slots, int, CodeRange) noexcept { return static_cast<std::size_t>(slots) * kBytePanel; }

void pack_bytes(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, const std::int16_t* zero,
                const std::int32_t* group_end, int groups, int cols, CodeRange, void* panel,
                std::int32_t* corrections) noexcept {
  Pack::straight(w, ldw, order, slots, zero, group_end, groups, cols, static_cast<char*>(panel), corrections);
}

void pack_bytes_transposed(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots, const std::int16_t* zero,
                           int cols, CodeRange, void* panel, std::int32_t* corrections) noexcept {
  Pack256<Policy::kPartColumns, false>::transposed(w, ldw, slots_valid, slots, cols, static_cast<char*>(panel));
  Pack::correct(static_cast<char*>(panel), slots, zero, corrections);
}

void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange, void* out) noexcept {
  Repeat<Pack>::slots(panel, slots, order, count, out);
}

void byte_gemm(const ByteGemm& g) noexcept { Gemm<Policy>::run(g, 0); }

}  // namespace

void fill_byte_kernels_avx512_vnni(Kernels& table) {
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.repeat_slots = repeat_slots;
  Codes256::fill(table);
}

}  // namespace igq::kernels
