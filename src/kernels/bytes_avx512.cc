// The byte family on AVX-512 (F, BW, DQ, VL) without a dot instruction: as AVX2, twice as wide. Two panel layouts:
// bytes where sums of vpmaddubsw fit into 16 bits (every pair of code ranges but 8 x 8 bits), else weights widened to
// 16 bits.
#include "kernels/bytes_codes256.h"
#include "kernels/bytes_pack256.h"
#include "kernels/bytes_repeat.h"
#include "kernels/bytes_simd512.h"
#include "kernels/bytes_tile.h"
#include "kernels/kernels_internal.h"

namespace igq::kernels {
namespace {

using Shape = TileShape<Simd512, 6>;
using PackBytes = Pack256<Shape::kPartColumns, false>;
using PackWords = Pack256<Shape::kPartColumns, true>;

bool narrow(CodeRange range) { return narrow_chunk(range) >= 1; }

std::size_t panel_bytes(int slots, int, CodeRange range) noexcept {
  return static_cast<std::size_t>(slots) * kBytePanel * (narrow(range) ? 1 : 2);
}

void pack_bytes(const std::int8_t* w, std::int64_t ldw, const std::int32_t* order, int slots, const std::int16_t* zero,
                const std::int32_t* group_end, int groups, int cols, CodeRange range, void* panel,
                std::int32_t* corrections) noexcept {
  char* out = static_cast<char*>(panel);
  if (narrow(range)) {
    PackBytes::straight(w, ldw, order, slots, cols, out);
    PackBytes::correct(out, slots, zero, group_end, groups, corrections);
  } else {
    PackWords::straight(w, ldw, order, slots, cols, out);
    PackWords::correct(out, slots, zero, group_end, groups, corrections);
  }
}

void pack_bytes_transposed(const std::int8_t* w, std::int64_t ldw, int slots_valid, int slots, const std::int16_t* zero,
                           int cols, CodeRange range, void* panel, std::int32_t* corrections) noexcept {
  char* out = static_cast<char*>(panel);
  const std::int32_t end = slots;
  if (narrow(range)) {
    PackBytes::transposed(w, ldw, slots_valid, slots, cols, out);
    PackBytes::correct(out, slots, zero, &end, 1, corrections);
  } else {
    PackWords::transposed(w, ldw, slots_valid, slots, cols, out);
    PackWords::correct(out, slots, zero, &end, 1, corrections);
  }
}

void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange range,
                  void* out) noexcept {
  if (narrow(range))
    Repeat<PackBytes>::slots(panel, slots, order, count, out);
  else
    Repeat<PackWords>::slots(panel, slots, order, count, out);
}

void byte_gemm(const ByteGemm& g) noexcept {
  if (narrow(g.range)) return Gemm<Narrow<Shape>>::run(g, narrow_chunk(g.range));
  Gemm<Wide<Shape>>::run(g, 0);
}

}  // namespace

void fill_byte_kernels_avx512(Kernels& table) {
  table.panel_bytes = panel_bytes;
  table.pack_bytes = pack_bytes;
  table.pack_bytes_transposed = pack_bytes_transposed;
  table.byte_gemm = byte_gemm;
  table.repeat_slots = repeat_slots;
  Codes256::fill(table);
}

}  // namespace igq::kernels
