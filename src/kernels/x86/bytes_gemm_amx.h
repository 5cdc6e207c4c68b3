// The byte product on AMX, a block of up to 2 x 2 tiles at a time.
// Several groups here; one group, with extra slots, in bytes_gemm_amx_one.h.
//
// The tile unit sums a group's products while the vector unit turns the sums of the group before, stored to the nearest
// cache, into floats: one addition of the corrections, one conversion and one fma per 16 sums, the chain of roundings
// that table.h prescribes. Each tile of weights and of codes serves two products.
#pragma once

#include "kernels/x86/amx_block.h"
#include "kernels/x86/bytes_gemm_amx_one.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

template <class Simd>
struct GemmAmx {
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;

  /// Rows [t, t + rows) by columns [n, n + 16) of the panel: what one tile of sums becomes.
  struct Tile {
    const ByteGemm& g;
    int t, rows, n;

    template <class Body>
    [[gnu::always_inline]] void for_rows(const Body& body) const {
      if (rows == kTileRows) {
#pragma GCC unroll 16
        for (int r = 0; r < kTileRows; ++r) body(r);
      } else {
        for (int r = 0; r < rows; ++r) body(r);
      }
    }

    [[gnu::always_inline]] void store(int r, Float x) const {
      Float row[1] = {x};
      store_outputs<Simd>(g, t + r, n, row);
    }

    /// v = fma(float(sums + corrections), group_scale, v), v starting at 0; after the last group to the outputs. With
    /// multiples v holds integers until then.
    template <bool kFirst, bool kLast>
    [[gnu::always_inline]] void add(int group, const std::int32_t (&sums)[kTileRows][kTileRows],
                                    float (&v)[kTileRows][kTileRows]) const {
      const Int correction = Simd::load(g.corrections + static_cast<std::int64_t>(group) * kBytePanel + n);
      if (g.multiples != nullptr) {
        const Int multiple = Simd::set32(g.multiples[group]);
        const Float unit = Simd::set1(g.group_scale[0]);
        for_rows([&](int r) {
          const Int s = Simd::multiply32(Simd::add32(Simd::load(sums[r]), correction), multiple);
          const Int total = kFirst ? s : Simd::add32(s, Simd::load(v[r]));
          if constexpr (kLast)
            store(r, Simd::mul(Simd::to_float(total), unit));
          else
            Simd::store(v[r], total);
        });
      } else {
        const Float scale = Simd::set1(g.group_scale[group]);
        for_rows([&](int r) {
          const Int s = Simd::add32(Simd::load(sums[r]), correction);
          const Float x = Simd::fma(Simd::to_float(s), scale, kFirst ? Simd::zerof() : Simd::loadf(v[r]));
          if constexpr (kLast)
            store(r, x);
          else
            Simd::storef(v[r], x);
        });
      }
      if (g.sums == nullptr) return;
      std::int32_t* kept = g.sums + (static_cast<std::int64_t>(group) * g.rows + t) * kBytePanel + n;
      for (int r = 0; r < rows; ++r)
        Simd::store(kept + std::int64_t{r} * kBytePanel, Simd::add32(Simd::load(sums[r]), correction));
    }
  };

  /// A product under way.
  struct Walk {
    const ByteGemm& g;
    AmxSteps steps;
    std::int64_t column_bytes;  ///< of the panel, per tile of columns
    FetchNext fetch;
  };

  /// Rows [t, t + height) by columns [n, n + 16 * kColumnTiles) of the panel.
  template <int kRowTiles, int kColumnTiles>
  static void block(Walk& walk, int t, int height, int n) {
    const ByteGemm& g = walk.g;
    const AmxSteps steps = walk.steps;
    const std::int64_t column_bytes = walk.column_bytes;
    FetchNext& fetch = walk.fetch;
    using Block = AmxBlock<kRowTiles, kColumnTiles>;
    alignas(64) typename Block::Sums sums;
    alignas(64) float v[Block::kTiles][kTileRows][kTileRows];
    const auto tile = [&](int i) {
      const int row = i % kRowTiles * kTileRows;
      return Tile{g, t + row, height - row < kTileRows ? height - row : kTileRows, n + i / kRowTiles * kTileRows};
    };
    const auto add = [&]<bool kFirst, bool kLast>(int group) {
      for (int i = 0; i < Block::kTiles; ++i) tile(i).template add<kFirst, kLast>(group, sums[i], v[i]);
    };
    const char* w = static_cast<const char*>(g.panel) + n / kTileRows * column_bytes;
    const std::uint8_t* a = g.a + t * g.lda;
    int k = 0;
    for (int group = 0; group < g.groups; ++group) {
      Block::zero();
      for (const int end = g.group_end[group]; k < end; k += kTileBytes, w += steps.tile_bytes(), fetch.step())
        Block::step(a + steps.start(k), a + kTileRows * g.lda + steps.start(k), g.lda, w, column_bytes, [](int) {});
      k = g.group_end[group];
      if (group == 1)
        add.template operator()<true, false>(0);
      else if (group > 1)
        add.template operator()<false, false>(group - 1);
      Block::store(sums);
    }
    if (g.groups == 1)
      add.template operator()<true, true>(0);
    else
      add.template operator()<false, true>(g.groups - 1);
  }

  /// All rows: blocks of 32, then one block of what is left.
  static void run(const ByteGemm& g) {
    if (g.rows <= 0) return;
    const int slots = g.groups > 0 ? g.group_end[g.groups - 1] : 0;
    if (slots == 0) return run_empty(g);
    if (g.groups == 1 && g.multiples == nullptr) return OneGroupAmx<Simd>(g, slots).run();
    const AmxSteps steps(slots);
    const int column_tiles = g.sums != nullptr ? kBytePanel / kTileRows : (g.cols + kTileRows - 1) / kTileRows;
    const int step_count = AmxSteps::count(g.group_end, g.groups);
    const int full = g.rows / (2 * kTileRows) * (2 * kTileRows);
    Walk walk{g, steps, steps.tile_bytes() * step_count,
              FetchNext(g, (g.rows + 31) / 32 * ((column_tiles + 1) / 2) * std::int64_t{step_count})};
    if (full > 0) {
      set_block_shapes(kTileRows, kTileRows, steps.depth);
      for (int n = 0; n < column_tiles; n += 2)
        for (int t = 0; t < full; t += 2 * kTileRows) columns<2>(walk, t, 2 * kTileRows, n, column_tiles - n);
    }
    const int rest = g.rows - full;
    if (rest > 0) {
      set_block_shapes(rest < kTileRows ? rest : kTileRows, rest - kTileRows, steps.depth);
      for (int n = 0; n < column_tiles; n += 2) {
        if (rest > kTileRows)
          columns<2>(walk, full, rest, n, column_tiles - n);
        else
          columns<1>(walk, full, rest, n, column_tiles - n);
      }
    }
    release_tiles();
  }

 private:
  template <int kRowTiles>
  static void columns(Walk& walk, int t, int height, int n, int left) {
    if (left > 1)
      block<kRowTiles, 2>(walk, t, height, n * kTileRows);
    else
      block<kRowTiles, 1>(walk, t, height, n * kTileRows);
  }

  /// No channel at all: every sum is its corrections.
  static void run_empty(const ByteGemm& g) {
    alignas(64) static constexpr std::int32_t kZeros[kTileRows][kTileRows] = {};
    alignas(64) float v[kTileRows][kTileRows] = {};
    for (int n = 0; n < (g.sums != nullptr ? kBytePanel : g.cols); n += kTileRows)
      for (int t = 0; t < g.rows; t += kTileRows) {
        const Tile tile{g, t, g.rows - t < kTileRows ? g.rows - t : kTileRows, n};
        for (int group = 0; group < g.groups; ++group) tile.template add<false, false>(group, kZeros, v);
        const Float unit = Simd::set1(g.groups > 0 ? g.group_scale[0] : 0.0F);
        for (int r = 0; r < tile.rows; ++r)
          tile.store(r, g.multiples != nullptr ? Simd::mul(Simd::to_float(Simd::load(v[r])), unit) : Simd::loadf(v[r]));
      }
  }
};

}  // namespace
}  // namespace igq::kernels
