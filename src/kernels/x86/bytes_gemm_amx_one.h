// The byte product on AMX for one group, with extra slots: codes that are counted more than once, so that any number of
// scales which are multiples of one unit costs one product and no group at all. A block's sums become outputs row by
// row among the tile instructions of the next block, which is where they cost least (docs/notebook/speed.md).
#pragma once

#include "kernels/x86/amx_block.h"
#include "kernels/generic/byte_outputs.h"

namespace igq::kernels {
namespace {

/// What the sums of up to two tiles of columns become, row by row: out = fma(row_scale * fma(-col_zero, row_sum, sum *
/// unit), col_scale, bias). What is not given is replaced by what changes nothing, so that every row runs the same
/// instructions; what is rarely wanted (outputs added to y, integer sums) costs a test only where `kRare`, and where
/// not `kScaled` unit and row scales are 1.
template <class Simd, int kRowTiles, int kColumnTiles, bool kRare, bool kScaled>
class OutputColumns {
 public:
  OutputColumns(const ByteGemm& g, const std::int32_t* corrections, int n)
      : unit_(Simd::set1(g.group_scale[0])),
        row_sum_step_(g.row_sum == nullptr ? 0 : 1),
        row_scale_step_(g.row_scale == nullptr ? 0 : 1),
        ldy_(g.ldy),
        row_sum_(g.row_sum == nullptr ? &kZero : g.row_sum),
        row_scale_(g.row_scale == nullptr ? &kOne : g.row_scale),
        y_(g.y == nullptr ? nullptr : g.y + n),
        sums_(g.sums == nullptr ? nullptr : g.sums + n),
        add_(g.add) {
    for (int c = 0; c < kColumnTiles; ++c) {
      const int at = n + c * kTileRows, count = g.y == nullptr || g.cols < at ? 0 : g.cols - at;
      lanes_[c] = Simd::first_lanes(count);
      correction_[c] = Simd::load(corrections + at);
      zero_[c] = g.row_sum == nullptr ? Simd::zerof() : Simd::load_first(g.col_zero + at, count);
      scale_[c] = Simd::load_first(g.col_scale + at, count);
      bias_[c] = g.bias == nullptr ? Simd::zerof() : Simd::load_first(g.bias + at, count);
      gamma_[c] = !g.add || g.gamma == nullptr ? Simd::set1(1.0F) : Simd::load_first(g.gamma + at, count);
    }
  }

  /// Adds what the zero rows, the first of a block, take from every column to the corrections: kZeroOffset * sums[3] -
  /// (sums[0] + 256 * sums[1] + 65536 * sums[2]).
  void take_zero_rows(const std::int32_t* sums, std::int32_t* corrections) {
    for (int c = 0; c < kColumnTiles; ++c) {
      const auto row = [&](int r) { return Simd::load(sums + kColumn * c + kTileRows * r); };
      const Int shifted =
          Simd::add32(row(0), Simd::template shift_left<8>(Simd::add32(row(1), Simd::template shift_left<8>(row(2)))));
      const Int offset = Simd::multiply32(row(3), Simd::set32(static_cast<std::int32_t>(kZeroOffset)));
      correction_[c] = Simd::add32(correction_[c], Simd::sub32(offset, shifted));
      Simd::store(corrections + c * kTileRows, correction_[c]);
    }
  }

  /// The next row, from its sums in a block.
  [[gnu::always_inline]] void finish_row(const std::int32_t* sums) {
    const Float row_sum = Simd::set1(*row_sum_), row_scale = Simd::set1(*row_scale_);
#pragma GCC unroll 2
    for (int c = 0; c < kColumnTiles; ++c) {
      const Int s = Simd::add32(Simd::load(sums + kColumn * c), correction_[c]);
      if (kRare && sums_ != nullptr) Simd::store(sums_ + c * kTileRows, s);
      if (kRare && y_ == nullptr) continue;
      const Float v = Simd::to_float(s);
      const Float x = kScaled ? Simd::mul(Simd::fnma(zero_[c], row_sum, Simd::mul(v, unit_)), row_scale)
                              : Simd::fnma(zero_[c], row_sum, v);
      Float out = Simd::fma(x, scale_[c], bias_[c]);
      float* y = y_ + c * kTileRows;
      if (kRare && add_) out = Simd::fma(gamma_[c], out, Simd::load_lanes(y, lanes_[c]));
      Simd::store_lanes(y, lanes_[c], out);
    }
    row_sum_ += row_sum_step_;
    row_scale_ += row_scale_step_;
    if (!kRare || y_ != nullptr) y_ += ldy_;
    if (kRare && sums_ != nullptr) sums_ += kBytePanel;
  }

 private:
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr float kZero = 0.0F, kOne = 1.0F;
  static constexpr int kColumn = kRowTiles * kTileRows * kTileRows;  ///< from a column tile of a block to the next

  Int correction_[kColumnTiles];
  Float zero_[kColumnTiles], scale_[kColumnTiles], bias_[kColumnTiles], gamma_[kColumnTiles], unit_;
  std::int64_t row_sum_step_, row_scale_step_, ldy_;
  const float *row_sum_, *row_scale_;  ///< of the next row, as y_ and sums_
  float* y_;
  std::int32_t* sums_;
  typename Simd::Lanes lanes_[kColumnTiles];
  bool add_;
};

template <class Simd>
class OneGroupAmx {
 public:
  OneGroupAmx(const ByteGemm& g, int slots)
      : g_(g),
        steps_(slots),
        step_count_((slots + kTileBytes - 1) / kTileBytes),
        column_bytes_(steps_.tile_bytes() * step_count_),
        column_tiles_(g.sums != nullptr ? kBytePanel / kTileRows : (g.cols + kTileRows - 1) / kTileRows),
        extra_count_(g.extra_slots / steps_.depth),
        begin_(g.zero_rows ? -kZeroRows : 0),
        block_count_((g.rows - begin_ + 2 * kTileRows - 1) / (2 * kTileRows)),
        height_((g.rows - begin_ + block_count_ - 1) / block_count_),
        fetch_(g, std::int64_t{step_count_ + extra_count_} * ((column_tiles_ + 1) / 2) * block_count_) {
    for (int n = 0; n < kBytePanel; n += kTileRows) Simd::store(corrections_ + n, Simd::load(g.corrections + n));
  }

  void run() {
    set_block_shapes(height_ < kTileRows ? height_ : kTileRows, height_ - kTileRows, steps_.depth);
    if (height_ > kTileRows)
      all_columns<2>();
    else
      all_columns<1>();
    release_tiles();
  }

 private:
  template <int kRowTiles>
  void all_columns() {
    if (g_.row_scale == nullptr && g_.group_scale[0] == 1.0F)
      all_columns_as<kRowTiles, false>();
    else
      all_columns_as<kRowTiles, true>();
  }

  template <int kRowTiles, bool kScaled>
  void all_columns_as() {
    const bool rare = g_.add || g_.sums != nullptr || g_.y == nullptr;
    for (int n = 0; n < column_tiles_; n += 2) {
      const int column = n * kTileRows;
      if (rare && column_tiles_ - n > 1)
        blocks<kRowTiles, 2, true, kScaled>(column);
      else if (rare)
        blocks<kRowTiles, 1, true, kScaled>(column);
      else if (column_tiles_ - n > 1)
        blocks<kRowTiles, 2, false, kScaled>(column);
      else
        blocks<kRowTiles, 1, false, kScaled>(column);
    }
  }

  /// All rows, a block at a time, by columns [n, n + 16 * kColumnTiles). Rows below 0 are the zero rows.
  template <int kRowTiles, int kColumnTiles, bool kRare, bool kScaled>
  void blocks(int n) {
    using Block = AmxBlock<kRowTiles, kColumnTiles>;
    constexpr int kRows = kRowTiles * kTileRows;
    constexpr int kEach = kRows / 4;  // rows of the block before that become outputs in a step, a quarter at a time
    OutputColumns<Simd, kRowTiles, kColumnTiles, kRare, kScaled> columns(g_, corrections_, n);
    const std::int64_t column_bytes = column_bytes_, tile_bytes = steps_.tile_bytes(),
                       extra_bytes = tile_bytes * extra_count_;
    const char* panel = static_cast<const char*>(g_.panel) + n / kTileRows * column_bytes;
    const char* extra_panel = static_cast<const char*>(g_.extra_panel) + n / kTileRows * extra_bytes;
    const int step_count = step_count_, extra_count = extra_count_, depth = steps_.depth, last = steps_.slots - depth;
    FetchNext fetch = fetch_;
    alignas(64) typename Block::Sums buffers[2];
    int current = 0, done = 0, before_rows = 0;  // of the block before: rows that have become outputs, and all
    for (int b = 0; b < block_count_; ++b) {
      const int next = begin_ + b * height_, t = next + height_ > g_.rows ? g_.rows - height_ : next;
      const std::int32_t* sums = Block::first(buffers[current]);
      bool stored = false;  // whether the sums have reached memory, which takes the first step
      const auto step = [&](const std::uint8_t* a, std::int64_t lda, const char* w, std::int64_t next_column)
          __attribute__((always_inline)) {
        fetch.step();
        if (stored && done + kEach <= before_rows) {
          Block::step(
              a, a + kTileRows * lda, lda, w, next_column, [&](int quarter) __attribute__((always_inline)) {
#pragma GCC unroll 2
                for (int r = quarter * kEach / 4; r < (quarter + 1) * kEach / 4; ++r)
                  columns.finish_row(sums + (done + r) * kTileRows);
              });
          done += kEach;
        } else {
          Block::step(a, a + kTileRows * lda, lda, w, next_column, [](int) {});
        }
        stored = true;
      };
      Block::zero();
      const std::uint8_t* a = g_.a + t * g_.lda;
      for (int i = 0; i < step_count; ++i)
        step(a + (i * kTileBytes < last ? i * kTileBytes : last), g_.lda, panel + i * tile_bytes, column_bytes);
      const std::uint8_t* extra = g_.extra + t * g_.extra_lda;
      for (int i = 0; i < extra_count; ++i)
        step(extra + i * depth, g_.extra_lda, extra_panel + i * tile_bytes, extra_bytes);
      current = 1 - current;
      Block::store(buffers[current]);
      for (; done < before_rows; ++done) columns.finish_row(sums + done * kTileRows);
      before_rows = height_;
      done = next - t;
      if (t < 0) {
        columns.take_zero_rows(Block::first(buffers[current]), corrections_ + n);
        done = kZeroRows;
      }
    }
    for (; done < before_rows; ++done) columns.finish_row(Block::first(buffers[current]) + done * kTileRows);
    fetch_ = fetch;
  }

  const ByteGemm& g_;
  AmxSteps steps_;
  int step_count_;
  std::int64_t column_bytes_;
  int column_tiles_, extra_count_;
  int begin_;  ///< the first row: below 0 where zero rows come first
  /// Blocks of equal height, so that one shape of the tiles serves all of them: setting another takes as long as seven
  /// products. Where that makes more rows than there are, the last block begins earlier, among rows that are done
  /// already.
  int block_count_, height_;
  FetchNext fetch_;
  alignas(64) std::int32_t corrections_[kBytePanel];
};

}  // namespace
}  // namespace igq::kernels
