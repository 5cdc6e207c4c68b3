// The byte product on AMX for one group, of codes of one byte or two.
//
// Codes of two bytes are two tiles of codes for the same rows: their sums are put together as integers, so that any number of
// scales which are multiples of one unit costs two products and no group at all. A block's sums become outputs row by row among
// the tile instructions of the next block: the tile unit and the vector unit work side by side only when their instructions
// alternate within what the processor looks ahead.
#pragma once

#include "kernels/amx_block.h"
#include "kernels/byte_outputs.h"

namespace igq::kernels {
namespace {

/// What the sums of up to two tiles of columns become: out = fma(row_scale * fma(-col_zero, row_sum, sum * unit), col_scale, bias).
/// What is not given is replaced by what changes nothing, so that every row runs the same instructions.
template <class Simd, int kColumnTiles, bool kTwoBytes>
class OutputColumns {
 public:
  OutputColumns(const ByteGemm& g, const std::int32_t* corrections, int n)
      : unit_(Simd::set1(g.group_scale[0])), row_sum_(g.row_sum == nullptr ? &kZero : g.row_sum), row_scale_(g.row_scale == nullptr ? &kOne : g.row_scale),
        row_sum_step_(g.row_sum == nullptr ? 0 : 1), row_scale_step_(g.row_scale == nullptr ? 0 : 1), ldy_(g.ldy),
        y_(g.y == nullptr ? nullptr : g.y + n), add_(g.add), sums_(g.sums == nullptr ? nullptr : g.sums + n) {
    for (int c = 0; c < kColumnTiles; ++c) {
      const int at = n + c * kTileRows;
      correction_[c] = Simd::load(corrections + at);
      count_[c] = g.y == nullptr || g.cols < at ? 0 : g.cols - at;
      zero_[c] = g.row_sum == nullptr ? Simd::zerof() : Simd::load_first(g.col_zero + at, count_[c]);
      scale_[c] = Simd::load_first(g.col_scale + at, count_[c]);
      bias_[c] = g.bias == nullptr ? Simd::zerof() : Simd::load_first(g.bias + at, count_[c]);
      gamma_[c] = !g.add || g.gamma == nullptr ? Simd::set1(1.0F) : Simd::load_first(g.gamma + at, count_[c]);
    }
  }

  /// Adds what the zero rows, the first of a block, take from every column to the corrections: kZeroOffset * sums[3] - (sums[0] +
  /// 256 * sums[1] + 65536 * sums[2]).
  template <class Sums>
  void take_zero_rows(const Sums& sums, std::int32_t* corrections) {
    for (int c = 0; c < kColumnTiles; ++c) {
      const auto& s = sums[c];
      const Int shifted = Simd::add32(Simd::load(s[0]), Simd::shift_left_8(Simd::add32(Simd::load(s[1]), Simd::shift_left_8(Simd::load(s[2])))));
      const Int offset = Simd::multiply32(Simd::load(s[3]), Simd::set32(static_cast<std::int32_t>(kZeroOffset)));
      correction_[c] = Simd::add32(correction_[c], Simd::sub32(offset, shifted));
      Simd::store(corrections + c * kTileRows, correction_[c]);
    }
  }

  /// Row `row` from row r of a block's sums.
  template <class Sums>
  [[gnu::always_inline]] void finish(const Sums& sums, std::int64_t row, int r) const {
    const int tile = kTwoBytes ? 0 : r / kTileRows * kColumnTiles, in_tile = kTwoBytes ? r : r % kTileRows;
    const Float row_sum = Simd::set1(row_sum_[row * row_sum_step_]), row_scale = Simd::set1(row_scale_[row * row_scale_step_]);
#pragma GCC unroll 2
    for (int c = 0; c < kColumnTiles; ++c) {
      Int s = Simd::add32(Simd::load(sums[tile + c][in_tile]), correction_[c]);
      if constexpr (kTwoBytes) s = Simd::add32(s, Simd::shift_left_8(Simd::load(sums[kColumnTiles + c][in_tile])));
      if (sums_ != nullptr) [[unlikely]] Simd::store(sums_ + row * kBytePanel + c * kTileRows, s);
      if (y_ == nullptr) [[unlikely]] continue;
      const Float x = Simd::mul(Simd::fnma(zero_[c], row_sum, Simd::mul(Simd::to_float(s), unit_)), row_scale);
      Float out = Simd::fma(x, scale_[c], bias_[c]);
      float* y = y_ + row * ldy_ + c * kTileRows;
      if (add_) out = Simd::fma(gamma_[c], out, Simd::load_first(y, count_[c]));
      Simd::store_first(y, count_[c], out);
    }
  }

 private:
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr float kZero = 0.0F, kOne = 1.0F;

  Int correction_[kColumnTiles];
  Float zero_[kColumnTiles], scale_[kColumnTiles], bias_[kColumnTiles], gamma_[kColumnTiles], unit_;
  const float *row_sum_, *row_scale_;
  std::int64_t row_sum_step_, row_scale_step_, ldy_;
  float* y_;
  bool add_;
  std::int32_t* sums_;
  int count_[kColumnTiles];
};

template <class Simd>
class OneGroupAmx {
 public:
  OneGroupAmx(const ByteGemm& g, int slots)
      : g_(g), steps_(slots), step_count_((slots + kTileBytes - 1) / kTileBytes), column_bytes_(steps_.tile_bytes() * step_count_),
        column_tiles_(g.sums != nullptr ? kBytePanel / kTileRows : (g.cols + kTileRows - 1) / kTileRows),
        begin_(g.zero_rows ? -kZeroRows : 0),
        fetch_(g, std::int64_t{step_count_} * ((column_tiles_ + 1) / 2) * ((g.rows - begin_ + height() - 1) / height())) {
    for (int n = 0; n < kBytePanel; n += kTileRows) Simd::store(corrections_ + n, Simd::load(g.corrections + n));
  }

  void run() {
    const int full = begin_ + (g_.rows - begin_) / height() * height(), rest = g_.rows - full;
    if (full > begin_) {
      set_block_shapes(kTileRows, kTileRows, steps_.depth);
      if (g_.high != nullptr) all_columns<2, true>(begin_, full);
      else all_columns<2, false>(begin_, full);
    }
    if (rest > 0) {
      if (g_.high != nullptr) set_block_shapes(rest, rest, steps_.depth);
      else set_block_shapes(rest < kTileRows ? rest : kTileRows, rest - kTileRows, steps_.depth);
      if (g_.high != nullptr) all_columns<2, true>(full, g_.rows);
      else if (rest > kTileRows) all_columns<2, false>(full, g_.rows);
      else all_columns<1, false>(full, g_.rows);
    }
    release_tiles();
  }

 private:
  int height() const { return g_.high != nullptr ? kTileRows : 2 * kTileRows; }

  template <int kRowTiles, bool kTwoBytes>
  void all_columns(int begin, int end) {
    for (int n = 0; n < column_tiles_; n += 2) {
      if (column_tiles_ - n > 1) blocks<kRowTiles, 2, kTwoBytes>(begin, end, n * kTileRows);
      else blocks<kRowTiles, 1, kTwoBytes>(begin, end, n * kTileRows);
    }
  }

  /// Rows [begin, end), a block at a time, by columns [n, n + 16 * kColumnTiles). Rows below 0 are the zero rows.
  template <int kRowTiles, int kColumnTiles, bool kTwoBytes>
  void blocks(int begin, int end, int n) {
    using Block = AmxBlock<kRowTiles, kColumnTiles>;
    constexpr int kHeight = kTwoBytes ? kTileRows : kRowTiles * kTileRows;
    constexpr int kEach = kHeight / 4;  // rows of the block before that become outputs in a step, a quarter at a time
    OutputColumns<Simd, kColumnTiles, kTwoBytes> columns(g_, corrections_, n);
    const std::int64_t lda = g_.lda, column_bytes = column_bytes_, tile_bytes = steps_.tile_bytes();
    const char* panel = static_cast<const char*>(g_.panel) + n / kTileRows * column_bytes;
    const int step_count = step_count_, last = steps_.slots - steps_.depth;
    FetchNext fetch = fetch_;
    alignas(64) typename Block::Sums buffers[2];
    int current = 0, before = 0, before_rows = 0;
    for (int t = begin; t < end; t += kHeight) {
      const std::uint8_t* first = g_.a + t * lda;
      const std::uint8_t* second = kTwoBytes ? g_.high + t * lda : first + kTileRows * lda;
      const typename Block::Sums& sums = buffers[current];
      const char* w = panel;
      int done = 0;
      if (before < 0) {
        columns.take_zero_rows(sums, corrections_ + n);
        done = kZeroRows;
      }
      Block::zero();
      for (int step = 0; step < step_count; ++step, w += tile_bytes) {
        const int k = step * kTileBytes < last ? step * kTileBytes : last;
        fetch.step();
        if (step > 0 && done + kEach <= before_rows) {  // in the first step the sums are still on their way to memory
          Block::step(first + k, second + k, lda, w, column_bytes, [&](int quarter) __attribute__((always_inline)) {
#pragma GCC unroll 2
            for (int r = done + quarter * kEach / 4; r < done + (quarter + 1) * kEach / 4; ++r) columns.finish(sums, before + r, r);
          });
          done += kEach;
        } else {
          Block::step(first + k, second + k, lda, w, column_bytes, [](int) {});
        }
      }
      for (; done < before_rows; ++done) columns.finish(sums, before + done, done);
      current = 1 - current;
      Block::store(buffers[current]);
      before = t;
      before_rows = end - t < kHeight ? end - t : kHeight;
    }
    if (before < 0) columns.take_zero_rows(buffers[current], corrections_ + n);
    for (int r = before < 0 ? kZeroRows : 0; r < before_rows; ++r) columns.finish(buffers[current], before + r, r);
    fetch_ = fetch;
  }

  const ByteGemm& g_;
  AmxSteps steps_;
  int step_count_;
  std::int64_t column_bytes_;
  int column_tiles_;
  int begin_;  ///< the first row: below 0 where zero rows come first
  FetchNext fetch_;
  alignas(64) std::int32_t corrections_[kBytePanel];
};

}  // namespace
}  // namespace igq::kernels
