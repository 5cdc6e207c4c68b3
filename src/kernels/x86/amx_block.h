// Register blocks of the byte product on AMX: up to 2 x 2 tiles of sums, shared by the products of one group and of
// several.
#pragma once

#include "kernels/x86/bytes_pack_amx.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// The contraction of one block: registers 0 to 3 hold sums [row tile][column tile], 4 and 5 codes, 6 and 7 weights.
template <int kRowTiles, int kColumnTiles>
struct AmxBlock {
  static constexpr int kTiles = kRowTiles * kColumnTiles;
  using Sums = std::int32_t[kTiles][kTileRows]
                           [kTileRows];  ///< [column tile][row tile], so that a block's rows are evenly spaced

  /// All sums, one after the other.
  static const std::int32_t* first(const Sums& s) { return reinterpret_cast<const std::int32_t*>(&s); }

  [[gnu::always_inline]] static void zero() {
    zero_tile<0>();
    if constexpr (kColumnTiles > 1) zero_tile<1>();
    if constexpr (kRowTiles > 1) zero_tile<2>();
    if constexpr (kTiles == 4) zero_tile<3>();
  }
  /// `second`: the codes of the second row tile. between(0) to between(3): a quarter each of the vector work that goes
  /// with this step; spread like this it was measured to cost a tenth of the product less than in one piece.
  template <class Between>
  [[gnu::always_inline]] static void step(const std::uint8_t* a, const std::uint8_t* second, std::int64_t lda,
                                          const char* w, std::int64_t column_bytes, const Between& between) {
    load_tile<6>(w, kTileBytes);
    between(0);
    load_tile<4>(a, lda);
    multiply_tiles<0, 4, 6>();
    between(1);
    if constexpr (kRowTiles > 1) {
      load_tile<5>(second, lda);
      multiply_tiles<2, 5, 6>();
    }
    between(2);
    if constexpr (kColumnTiles > 1) {
      load_tile<7>(w + column_bytes, kTileBytes);
      multiply_tiles<1, 4, 7>();
    }
    between(3);
    if constexpr (kTiles == 4) multiply_tiles<3, 5, 7>();
  }
  [[gnu::always_inline]] static void store(Sums& s) {
    store_tile<0>(s[0]);
    if constexpr (kColumnTiles > 1) store_tile<1>(s[kRowTiles]);
    if constexpr (kRowTiles > 1) store_tile<2>(s[1]);
    if constexpr (kTiles == 4) store_tile<3>(s[3]);
  }
};

/// The registers' shapes for blocks of `rows` and `second_rows` (0: one row tile) rows of `depth` slots a step.
inline void set_block_shapes(int rows, int second_rows, int depth) {
  // Written as one vector: the processor cannot read what several stores have just written before it has reached
  // memory.
  const auto r = static_cast<std::int64_t>(rows), second = static_cast<std::int64_t>(second_rows > 0 ? second_rows : 0),
             d = static_cast<std::int64_t>(depth);
  const std::int64_t used = second > 0 ? 1 : 0;
  const std::int64_t sums =
      kTileBytes * (1 + (1LL << 16) + used * ((1LL << 32) + (1LL << 48)));  // bytes of the rows of registers 0 to 3
  const std::int64_t operands = d + (used * d << 16) + kTileBytes * ((1LL << 32) + (1LL << 48));  // and 4 to 7
  const std::int64_t row_counts =
      r * 0x0101 + second * 0x01010000 + (r << 32) + (second << 40) + d / 4 * (0x0101LL << 48);
  alignas(64) TileShapes shapes;
  _mm512_store_si512(&shapes, _mm512_setr_epi64(1, 0, sums, operands, 0, 0, row_counts, 0));
  set_tile_shapes(shapes);
}

/// Asks for the next panel's weights a few rows at a time, evenly over the steps of this one: more at once than the
/// processor keeps in flight would make it wait.
class FetchNext {
 public:
  FetchNext(const ByteGemm& g, std::int64_t steps)
      : next_(g.next),
        stride_(g.next_stride),
        left_(g.next == nullptr ? 0 : g.next_rows),
        each_((left_ + steps - 1) / (steps > 0 ? steps : 1)) {}
  [[gnu::always_inline]] void step() {
    for (std::int64_t i = 0; i < each_ && left_ > 0; ++i, --left_, next_ += stride_)
      _mm_prefetch(reinterpret_cast<const char*>(next_), _MM_HINT_T1);
  }

 private:
  const std::int8_t* next_;
  std::int64_t stride_, left_, each_;
};

}  // namespace
}  // namespace igq::kernels
