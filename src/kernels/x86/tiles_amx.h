// Operations on the eight tile registers of AMX, with the register's number as a template argument (the compiler's own
// macros paste it into the instruction's name and so cannot be used in templates).
//
// A tile is up to 16 rows of up to 64 bytes. A product of codes takes rows of 64 codes, a tile of weights
// [16 quads of slots][16 columns][4], and adds to 16 x 16 sums of 32 bits: 16384 products in 16 cycles.
#pragma once

#include "kernels/x86/intrinsics.h"

namespace igq::kernels {
namespace {

inline constexpr int kTileRows = 16;   ///< also columns of 32 bits
inline constexpr int kTileBytes = 64;  ///< of a row

/// The shape of each register, as the processor reads it.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

#ifdef IGQ_EMULATE_AVX512

inline void set_tile_shapes(const TileShapes& shapes) { emulated::tile_loadconfig(&shapes); }
inline void release_tiles() { emulated::tile_release(); }
template <int kTile>
inline void zero_tile() {
  emulated::tile_zero(kTile);
}
template <int kTile>
inline void load_tile(const void* p, std::int64_t stride) {
  emulated::tile_loadd(kTile, p, stride);
}
template <int kTile>
inline void store_tile(void* p) {
  emulated::tile_stored(kTile, p, kTileBytes);
}
template <int kSums, int kCodes, int kWeights>
inline void multiply_tiles() {
  emulated::tile_dpbusd(kSums, kCodes, kWeights);
}

#else

// All are volatile, so they stay in order. What tiles are loaded from has been written before their shapes are set,
// which is where the compiler must have written everything; a clobber of all memory at every load would make it read
// each constant again.
[[gnu::always_inline]] inline void set_tile_shapes(const TileShapes& shapes) {
  __asm__ volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
}
[[gnu::always_inline]] inline void release_tiles() { __asm__ volatile("tilerelease"); }
template <int kTile>
[[gnu::always_inline]] inline void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
[[gnu::always_inline]] inline void load_tile(const void* p, std::int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile));
}
/// Rows one after the other.
template <int kTile>
[[gnu::always_inline]] inline void store_tile(void* p) {
  using Rows = char[kTileRows * kTileBytes];
  __asm__ volatile("tilestored %%tmm%c3, (%1,%2,1)"
                   : "+m"(*static_cast<Rows*>(p))
                   : "r"(p), "r"(std::int64_t{kTileBytes}), "i"(kTile));
}
/// sums[r][c] += sum over 64 bytes of codes[r] (unsigned) * weights (signed).
template <int kSums, int kCodes, int kWeights>
[[gnu::always_inline]] inline void multiply_tiles() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kCodes), "i"(kWeights));
}

#endif

}  // namespace
}  // namespace igq::kernels
