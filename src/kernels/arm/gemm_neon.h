// The byte product of 64-bit ARM, one register tile at a time, written once for its three instruction sets.
//
// A tile is kRows tokens by the columns of one part of a panel (panel_neon.h). Its codes are copied once, in the order
// in which the inner loop takes them, [step][row][kStep slots], and serve all parts of the panel. A product policy says
// what a step is:
//   multiply<R>(codes, weights, steps, range, sums)   sums[row][vector of columns] += the products of `steps` steps
// Every load of 16 bytes then meets as many multiply-adds as registers allow; bench/README.md counts them.
#pragma once

#include "kernels/arm/panel_neon.h"
#include "kernels/generic/byte_outputs.h"
#include "kernels/generic/byte_zero_rows.h"

namespace igq::kernels {
namespace {

template <class Product>
struct GemmNeon {
  using Panel = typename Product::Panel;
  using Int = SimdNeon::Int;
  using Float = SimdNeon::Float;
  static constexpr int kRows = Product::kRows, kStep = Panel::kStep, kVectors = Panel::kColumns / 4;
  /// Slots of codes that the copy of a tile holds; a longer contraction is copied piece by piece, again for each part.
  static constexpr int kCopied = 4096;

  /// The codes of a tile's rows.
  struct Tile {
    const ByteGemm& g;
    int first, rows;  ///< of the codes
    int steps, extra_steps;
    bool whole;  ///< the copy holds everything
    std::uint8_t* copy;
  };

  /// Copies slots [0, slots) of `rows` rows, at most R; rows that are missing are the last one again.
  template <int R>
  static void copy_codes(const std::uint8_t* a, std::int64_t lda, int rows, int slots, std::uint8_t* out) {
    const uint8x16_t flip = vdupq_n_u8(Panel::kSigned ? 0x80 : 0);
    const std::uint8_t* row[R];
    for (int r = 0; r < R; ++r) row[r] = a + (r < rows ? r : rows - 1) * lda;
    int k = 0;
    for (; k + 16 <= slots; k += 16, out += 16 * R) {
      if constexpr (kStep == 16) {
        for (int r = 0; r < R; ++r) vst1q_u8(out + 16 * r, veorq_u8(vld1q_u8(row[r] + k), flip));
      } else if constexpr (kStep == 8) {
        for (int r = 0; r < R; r += 2) {
          const uint64x2_t x = vreinterpretq_u64_u8(veorq_u8(vld1q_u8(row[r] + k), flip)),
                           y = vreinterpretq_u64_u8(veorq_u8(vld1q_u8(row[r + 1] + k), flip));
          vst1q_u8(out + 8 * r, vreinterpretq_u8_u64(vzip1q_u64(x, y)));
          vst1q_u8(out + 8 * (R + r), vreinterpretq_u8_u64(vzip2q_u64(x, y)));
        }
      } else {
        for (int r = 0; r < R; r += 4) {
          uint32x4_t x[4];
          for (int i = 0; i < 4; ++i) x[i] = vreinterpretq_u32_u8(veorq_u8(vld1q_u8(row[r + i] + k), flip));
          const uint32x4_t low[2] = {vzip1q_u32(x[0], x[2]), vzip1q_u32(x[1], x[3])},
                           high[2] = {vzip2q_u32(x[0], x[2]), vzip2q_u32(x[1], x[3])};
          vst1q_u8(out + 4 * r, vreinterpretq_u8_u32(vzip1q_u32(low[0], low[1])));
          vst1q_u8(out + 4 * (R + r), vreinterpretq_u8_u32(vzip2q_u32(low[0], low[1])));
          vst1q_u8(out + 4 * (2 * R + r), vreinterpretq_u8_u32(vzip1q_u32(high[0], high[1])));
          vst1q_u8(out + 4 * (3 * R + r), vreinterpretq_u8_u32(vzip2q_u32(high[0], high[1])));
        }
      }
    }
    for (; k < slots; k += kStep)
      for (int r = 0; r < R; ++r)
        for (int i = 0; i < kStep; ++i)
          *out++ = static_cast<std::uint8_t>((k + i < slots ? row[r][k + i] : 0) ^ (Panel::kSigned ? 0x80 : 0));
  }

  /// s += the products of some slots, whose weights begin at `w`; `copied` is where the tile's copy has their codes.
  template <int R>
  static void contract(const Tile& tile, const std::uint8_t* a, std::int64_t lda, int slots, const std::uint8_t* copied,
                       const char* w, Int (&s)[R][kVectors]) {
    if (tile.whole) return Product::template multiply<R>(copied, w, Panel::steps_of(slots), tile.g.range, s);
    for (int k = 0; k < slots; k += kCopied) {
      const int count = slots - k < kCopied ? slots - k : kCopied;
      copy_codes<R>(a + k, lda, tile.rows, count, tile.copy);
      Product::template multiply<R>(tile.copy, w, Panel::steps_of(count), tile.g.range, s);
      w += std::int64_t{Panel::steps_of(count)} * Panel::kStepBytes;
    }
  }

  /// s[every row] += 128 times the weights' sums of kSigned panels.
  template <int R>
  static void add_offset(const char* sums, Int (&s)[R][kVectors]) {
    for (int j = 0; j < kVectors; ++j) {
      const Int offset = vshlq_n_s32(SimdNeon::load(sums + 16 * j), 7);
      for (int r = 0; r < R; ++r) s[r][j] = vaddq_s32(s[r][j], offset);
    }
  }

  template <int R>
  static void store_sums(const Tile& tile, int group, int column, const Int (&s)[R][kVectors]) {
    std::int32_t* sums =
        tile.g.sums + (static_cast<std::int64_t>(group) * tile.g.rows + tile.first) * kBytePanel + column;
    for (int r = 0; r < tile.rows; ++r)
      for (int j = 0; j < kVectors; ++j) SimdNeon::store(sums + r * kBytePanel + 4 * j, s[r][j]);
  }

  /// The first `rows` of R rows of one vector of columns.
  template <int R, int kAll>
  static void store_rows(const Tile& tile, int column, const Float (&v)[kAll][kVectors], int j) {
    if constexpr (R > 1) {
      if (tile.rows < R) return store_rows<R - 1, kAll>(tile, column, v, j);
    }
    Float rows[R];
    for (int r = 0; r < R; ++r) rows[r] = v[r][j];
    store_outputs<SimdNeon>(tile.g, tile.first, column, rows);
  }

  /// One part of the panel for the tile; kMultiples: groups are added up as integers.
  template <int R, bool kMultiples>
  static void part_of_tile(const Tile& tile, int part) {
    const ByteGemm& g = tile.g;
    const int column = part * Panel::kColumns;
    const char* w = Panel::part_of(g.panel, tile.steps, part);
    const std::uint8_t* copied = tile.copy;
    Float v[R][kVectors];
    Int total[R][kVectors];
    for (int r = 0; r < R; ++r)
      for (int j = 0; j < kVectors; ++j) {
        v[r][j] = SimdNeon::zerof();
        total[r][j] = SimdNeon::set32(0);
      }
    for (int group = 0, k = 0; group < g.groups; ++group) {
      const int slots = g.group_end[group] - k, steps = Panel::steps_of(slots);
      Int s[R][kVectors];
      for (int j = 0; j < kVectors; ++j) {
        const Int correction = SimdNeon::load(g.corrections + group * kBytePanel + column + 4 * j);
        for (int r = 0; r < R; ++r) s[r][j] = correction;
      }
      contract<R>(tile, g.a + tile.first * g.lda + k, g.lda, slots, copied, w, s);
      if constexpr (Panel::kSigned)
        add_offset<R>(Panel::sums_of(g.panel, tile.steps) + 4 * (group * kBytePanel + column), s);
      k = g.group_end[group];
      copied += std::int64_t{steps} * kStep * R;
      w += std::int64_t{steps} * Panel::kStepBytes;
      if (g.extra_slots > 0) {
        contract<R>(tile, g.extra + tile.first * g.extra_lda, g.extra_lda, g.extra_slots, copied,
                    Panel::part_of(g.extra_panel, tile.extra_steps, part), s);
        if constexpr (Panel::kSigned) add_offset<R>(Panel::sums_of(g.extra_panel, tile.extra_steps) + 4 * column, s);
      }
      for (int r = 0; r < R; ++r)
        for (int j = 0; j < kVectors; ++j) {
          if constexpr (kMultiples)
            total[r][j] = vmlaq_n_s32(total[r][j], s[r][j], g.multiples[group]);
          else
            v[r][j] = SimdNeon::fma(SimdNeon::to_float(s[r][j]), SimdNeon::set1(g.group_scale[group]), v[r][j]);
        }
      if (g.sums != nullptr) store_sums<R>(tile, group, column, s);
    }
    if constexpr (kMultiples)
      for (int r = 0; r < R; ++r)
        for (int j = 0; j < kVectors; ++j)
          v[r][j] = SimdNeon::mul(SimdNeon::to_float(total[r][j]), SimdNeon::set1(g.group_scale[0]));
    for (int j = 0; j < kVectors; ++j) store_rows<R, R>(tile, column + 4 * j, v, j);
  }

  template <int R>
  static void all_parts(Tile tile, int parts) {
    const ByteGemm& g = tile.g;
    tile.whole = std::int64_t{tile.steps + tile.extra_steps} * kStep <= kCopied;
    if (tile.whole) {
      std::uint8_t* out = tile.copy;
      for (int group = 0, k = 0; group < g.groups; k = g.group_end[group++]) {
        const int slots = g.group_end[group] - k;
        copy_codes<R>(g.a + tile.first * g.lda + k, g.lda, tile.rows, slots, out);
        out += std::int64_t{Panel::steps_of(slots)} * kStep * R;
      }
      if (g.extra_slots > 0)
        copy_codes<R>(g.extra + tile.first * g.extra_lda, g.extra_lda, tile.rows, g.extra_slots, out);
    }
    for (int part = 0; part < parts; ++part) {
      if (g.multiples != nullptr)
        part_of_tile<R, true>(tile, part);
      else
        part_of_tile<R, false>(tile, part);
    }
  }

  /// All rows, in tiles whose heights differ by one at most.
  static void run(const ByteGemm& g) noexcept {
    if (g.rows <= 0) return;
    if (g.zero_rows) return multiply_after_zero_rows(g, run);
    const int parts = g.sums != nullptr ? Panel::kParts : (g.cols + Panel::kColumns - 1) / Panel::kColumns;
    const std::int64_t tiles = (g.rows + kRows - 1) / kRows;
    alignas(64) std::uint8_t copy[kCopied * kRows];
    Tile tile{g, 0, 0, Panel::steps_of(g.group_end, g.groups), Panel::steps_of(g.extra_slots), false, copy};
    for (std::int64_t i = 0; i < tiles; ++i) {
      tile.rows = static_cast<int>(g.rows * (i + 1) / tiles) - tile.first;
      fetch_next(g, g.next_rows * i / tiles, g.next_rows * (i + 1) / tiles);
      if (2 * tile.rows > kRows)
        all_parts<kRows>(tile, parts);
      else
        all_parts<kRows / 2>(tile, parts);
      tile.first += tile.rows;
    }
  }
};

}  // namespace
}  // namespace igq::kernels
