// The byte product on AMX for one group, of codes of one byte or two.
//
// Codes of two bytes are two tiles of codes for the same rows: their sums are put together as integers, so that any number of
// scales which are multiples of one unit costs two products and no group at all. A block's sums become outputs a few rows at a
// time between the steps of the next block, because the tile unit and the vector unit work side by side only when their
// instructions alternate within what the processor looks ahead.
#pragma once

#include "kernels/amx_block.h"
#include "kernels/byte_outputs.h"

namespace igq::kernels {
namespace {

template <class Simd>
class OneGroupAmx {
 public:
  OneGroupAmx(const ByteGemm& g, int slots)
      : g_(g), steps_(slots), step_count_((slots + kTileBytes - 1) / kTileBytes), column_bytes_(steps_.tile_bytes() * step_count_),
        column_tiles_(g.sums != nullptr ? kBytePanel / kTileRows : (g.cols + kTileRows - 1) / kTileRows),
        fetch_(g, std::int64_t{step_count_} * ((column_tiles_ + 1) / 2) * ((g.rows + height() - 1) / height())) {}

  void run() {
    const int full = g_.rows / height() * height(), rest = g_.rows - full;
    for (int part = 0; part < 2; ++part) {
      const int rows = part == 0 ? full : rest;
      if (rows == 0) continue;
      if (part == 0) set_block_shapes(kTileRows, kTileRows, steps_.depth);
      else if (g_.high != nullptr) set_block_shapes(rest, rest, steps_.depth);
      else set_block_shapes(rest < kTileRows ? rest : kTileRows, rest - kTileRows, steps_.depth);
      const int begin = part == 0 ? 0 : full;
      for (int n = 0; n < column_tiles_; n += 2) {
        if (column_tiles_ - n > 1) blocks<2>(begin, begin + rows, n * kTileRows);
        else blocks<1>(begin, begin + rows, n * kTileRows);
      }
    }
    release_tiles();
  }

 private:
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr int kChunk = 4;  ///< rows that become outputs at a time; divides a tile

  int height() const { return g_.high != nullptr ? kTileRows : 2 * kTileRows; }

  template <int kColumnTiles>
  void blocks(int begin, int end, int n) {
    for (int t = begin; t < end; t += height()) {
      const int rows = end - t < height() ? end - t : height();
      if (g_.high != nullptr) block<2, kColumnTiles, true>(t, rows, n);
      else if (rows > kTileRows) block<2, kColumnTiles, false>(t, rows, n);
      else block<1, kColumnTiles, false>(t, rows, n);
    }
    if (g_.high != nullptr) finish<kColumnTiles, true>(0, rows_);
    else finish<kColumnTiles, false>(0, rows_);
    rows_ = 0;
  }

  /// Products of rows [t, t + rows) by columns [n, n + 16 * kColumnTiles); meanwhile the block before becomes outputs.
  template <int kRowTiles, int kColumnTiles, bool kTwoBytes>
  void block(int t, int rows, int n) {
    using Block = AmxBlock<kRowTiles, kColumnTiles>;
    const char* w = static_cast<const char*>(g_.panel) + n / kTileRows * column_bytes_;
    const std::uint8_t* first = g_.a + t * g_.lda;
    const std::uint8_t* second = kTwoBytes ? g_.high + t * g_.lda : first + kTileRows * g_.lda;
    const int each = (rows_ / kChunk + step_count_) / step_count_ * kChunk;
    Block::zero();
    int done = 0;
    for (int k = 0; k < steps_.slots; k += kTileBytes, w += steps_.tile_bytes()) {
      Block::step(first + steps_.start(k), second + steps_.start(k), g_.lda, w, column_bytes_);
      fetch_.step();
      const int next = done + each < rows_ ? done + each : rows_;
      finish<kColumnTiles, kTwoBytes>(done, next);
      done = next;
    }
    current_ = 1 - current_;
    Block::store(reinterpret_cast<typename Block::Sums&>(sums_[current_]));
    t_ = t;
    rows_ = rows;
    n_ = n;
  }

  /// Rows [from, to) of the block before: y = fma(row_scale * (float(sum) * group_scale - col_zero * row_sum), col_scale, bias).
  template <int kColumnTiles, bool kTwoBytes>
  [[gnu::always_inline]] void finish(int from, int to) {
    int r = from;
    for (; r + kChunk <= to; r += kChunk) finish_rows<kColumnTiles, kTwoBytes, kChunk>(r);
    for (; r < to; ++r) finish_rows<kColumnTiles, kTwoBytes, 1>(r);
  }

  /// kRows rows from r on, which do not cross a tile.
  template <int kColumnTiles, bool kTwoBytes, int kRows>
  [[gnu::always_inline]] void finish_rows(int r) {
    const int first = t_ + r, tile = kTwoBytes ? 0 : r / kTileRows * kColumnTiles, in_tile = r % kTileRows;
    const Float group_scale = Simd::set1(g_.group_scale[0]);
#pragma GCC unroll 2
    for (int c = 0; c < kColumnTiles; ++c) {
      const int n = n_ + c * kTileRows;
      const Int correction = Simd::load(g_.corrections + n);
      Int s[kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        s[i] = Simd::add32(Simd::load(sums_[current_][tile + c][in_tile + i]), correction);
        if constexpr (kTwoBytes) s[i] = Simd::add32(s[i], Simd::shift_left_8(Simd::load(sums_[current_][kColumnTiles + c][r + i])));
      }
      if (g_.sums != nullptr)
        for (int i = 0; i < kRows; ++i) Simd::store(g_.sums + (std::int64_t{first} + i) * kBytePanel + n, s[i]);
      Float x[kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) x[i] = Simd::fma(Simd::to_float(s[i]), group_scale, Simd::zerof());
      store_outputs<Simd>(g_, first, n, x);
    }
  }

  const ByteGemm& g_;
  AmxSteps steps_;
  int step_count_;
  std::int64_t column_bytes_;
  int column_tiles_;
  FetchNext fetch_;
  alignas(64) std::int32_t sums_[2][4][kTileRows][kTileRows];
  int current_ = 0, t_ = 0, rows_ = 0, n_ = 0;  ///< the block before
};

}  // namespace
}  // namespace igq::kernels
