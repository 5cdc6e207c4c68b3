// The byte kernels of an instruction set, put together from a panel layout and a product: what is the same for all of
// them, once.
//
// A layout packs panels: panel_bytes(), pack(), pack_transposed() and line() (bytes_repeat.h). A product multiplies
// codes by them: run(g).
#pragma once

#include "kernels/generic/byte_tile.h"
#include "kernels/x86/bytes_codes256.h"
#include "kernels/x86/bytes_pack256.h"
#include "kernels/x86/bytes_repeat.h"

namespace igq::kernels {
namespace {

template <class Layout, class Product>
struct ByteFamily {
  static std::size_t panel_bytes(int slots, int groups, CodeRange) noexcept {
    return Layout::panel_bytes(slots, groups);
  }
  static void pack(const PanelSource& from, const SlotGroups& slots, void* panel, std::int32_t* corrections) noexcept {
    Layout::pack(from, slots, static_cast<char*>(panel), corrections);
  }
  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              void* panel, std::int32_t* corrections) noexcept {
    Layout::pack_transposed(from, slots_valid, slots, zero, static_cast<char*>(panel), corrections);
  }
  static void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange,
                           void* out) noexcept {
    Repeat<Layout>::slots(panel, slots, order, count, out);
  }
  static void multiply(const ByteGemm& g) noexcept { Product::run(g); }
};

/// Without a product of bytes in 32 bits there are two layouts: bytes where sums of vpmaddubsw fit into 16 bits (every
/// pair of code ranges but 8 x 8 bits), else weights widened to 16 bits.
template <class NarrowFamily, class WideFamily>
struct ByteFamilyByRange {
  static bool narrow(CodeRange range) { return narrow_chunk(range) >= 1; }

  static std::size_t panel_bytes(int slots, int groups, CodeRange range) noexcept {
    return (narrow(range) ? NarrowFamily::panel_bytes : WideFamily::panel_bytes)(slots, groups, range);
  }
  static void pack(const PanelSource& from, const SlotGroups& slots, void* panel, std::int32_t* corrections) noexcept {
    (narrow(from.range) ? NarrowFamily::pack : WideFamily::pack)(from, slots, panel, corrections);
  }
  static void pack_transposed(const PanelSource& from, int slots_valid, int slots, const std::int16_t* zero,
                              void* panel, std::int32_t* corrections) noexcept {
    (narrow(from.range) ? NarrowFamily::pack_transposed : WideFamily::pack_transposed)(from, slots_valid, slots, zero,
                                                                                       panel, corrections);
  }
  static void repeat_slots(const void* panel, int slots, const std::int32_t* order, int count, CodeRange range,
                           void* out) noexcept {
    (narrow(range) ? NarrowFamily::repeat_slots : WideFamily::repeat_slots)(panel, slots, order, count, range, out);
  }
  static void multiply(const ByteGemm& g) noexcept {
    (narrow(g.range) ? NarrowFamily::multiply : WideFamily::multiply)(g);
  }
};

/// For vectors of any width without a product of bytes.
template <class Shape>
using WideningFamily = ByteFamilyByRange<ByteFamily<Pack256<Shape::kPartColumns, false>, Gemm<Narrow<Shape>>>,
                                         ByteFamily<Pack256<Shape::kPartColumns, true>, Gemm<Wide<Shape>>>>;

template <class Family>
void fill_byte_kernels(Kernels& table, TileSizes sizes) {
  static_cast<TileSizes&>(table) = sizes;
  table.panel_bytes = Family::panel_bytes;
  table.pack_bytes = Family::pack;
  table.pack_bytes_transposed = Family::pack_transposed;
  table.byte_gemm = Family::multiply;
  table.repeat_slots = Family::repeat_slots;
  Codes256::fill(table);
}

}  // namespace
}  // namespace igq::kernels
