// The byte product, one register tile at a time, written once for all vector instruction sets.
//
// A tile is kRows tokens by kVectors vectors of columns (a "part" of the panel: 16 columns at 256 bits, 32 at 512).
// Panels lie as [part][slots / kStep][columns of the part][kStep]: four bytes of contraction slots per column and step,
// which meet four bytes of activations broadcast to all columns. A product policy says how:
//   Dot   u8 x s8, four products into int32 at once (vpdpbusd);
//   Narrow  u8 x s8 where codes are so small that `chunk` steps of vpmaddubsw fit into 16 bits before they are widened;
//   Wide  both widened to 16 bits (vpmaddwd), for 8 x 8 bits without a dot instruction.
// Integer sums start from the zero-point corrections, so that a group ends with one conversion and one fma.
#pragma once

#include "kernels/generic/byte_outputs.h"
#include "kernels/generic/byte_zero_rows.h"
#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// Steps of Narrow whose sums of products stay within 16 bits; 0 when not even one does.
inline int narrow_chunk(CodeRange range) { return 32767 / (2 * range.a_max * range.w_abs_max); }

template <class SimdType, int kRowsMax>
struct TileShape {
  using Simd = SimdType;
  static constexpr int kRows = kRowsMax;
  static constexpr int kVectors = 2;
  static constexpr int kPartColumns = kVectors * Simd::kLanes;
  static constexpr int kParts = kBytePanel / kPartColumns;
  static constexpr int kStepBytes = 4 * kPartColumns;  ///< of the panel, per step
};

/// s[r][j] = corrections[j] + sum over `steps` of a[r] * w[j], accumulated in 32 bits all along.
template <class Policy, int R>
[[gnu::always_inline]] inline void accumulate32(const char* a, std::int64_t row_bytes, const char* w, int steps,
                                                typename Policy::Simd::Int (&s)[R][Policy::kVectors]) {
  using Simd = typename Policy::Simd;
  constexpr int kVectors = Policy::kVectors;
  for (; steps > 0; --steps, a += 4, w += Policy::kStepBytes) {
    typename Simd::Int weights[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) weights[j] = Simd::load(w + j * 4 * Simd::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto codes = Simd::broadcast4(a + r * row_bytes);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) s[r][j] = Policy::multiply_add(s[r][j], codes, weights[j]);
    }
  }
}

template <class Shape>
struct Dot : Shape {
  using Simd = typename Shape::Simd;
  using Int = typename Simd::Int;
  static constexpr int kStep = 4;
  static constexpr bool kWidens = false, kChunked = false;

  static Int multiply_add(Int s, Int a, Int w) { return Simd::dot(s, a, w); }
  template <int R>
  [[gnu::always_inline]] static void group(const char* a, std::int64_t row_bytes, const char* w, int steps, int,
                                           Int (&s)[R][Shape::kVectors]) {
    accumulate32<Dot, R>(a, row_bytes, w, steps, s);
  }
};

template <class Shape>
struct Wide : Shape {
  using Simd = typename Shape::Simd;
  using Int = typename Simd::Int;
  static constexpr int kStep = 2;
  static constexpr bool kWidens = true, kChunked = false;

  static Int multiply_add(Int s, Int a, Int w) { return Simd::multiply_words_add(s, a, w); }
  template <int R>
  [[gnu::always_inline]] static void group(const char* a, std::int64_t row_bytes, const char* w, int steps, int,
                                           Int (&s)[R][Shape::kVectors]) {
    accumulate32<Wide, R>(a, row_bytes, w, steps, s);
  }
};

template <class Shape>
struct Narrow : Shape {
  using Simd = typename Shape::Simd;
  using Int = typename Simd::Int;
  static constexpr int kStep = 4;
  static constexpr bool kWidens = false, kChunked = true;

  template <int R>
  [[gnu::always_inline]] static void group(const char* a, std::int64_t row_bytes, const char* w, int steps, int chunk,
                                           Int (&s)[R][Shape::kVectors]) {
    while (steps > 0) {
      int n = steps < chunk ? steps : chunk;
      steps -= n;
      Int h[R][Shape::kVectors];
      step<R, true>(a, row_bytes, w, h);
      for (a += 4, w += Shape::kStepBytes; --n > 0; a += 4, w += Shape::kStepBytes) step<R, false>(a, row_bytes, w, h);
      const Int ones = Simd::ones16();
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < Shape::kVectors; ++j) s[r][j] = Simd::multiply_words_add(s[r][j], h[r][j], ones);
    }
  }

 private:
  template <int R, bool kFirst>
  [[gnu::always_inline]] static void step(const char* a, std::int64_t row_bytes, const char* w,
                                          Int (&h)[R][Shape::kVectors]) {
    Int weights[Shape::kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < Shape::kVectors; ++j) weights[j] = Simd::load(w + j * 4 * Simd::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Int codes = Simd::broadcast4(a + r * row_bytes);
#pragma GCC unroll 4
      for (int j = 0; j < Shape::kVectors; ++j)
        h[r][j] =
            kFirst ? Simd::multiply_bytes(codes, weights[j]) : Simd::multiply_bytes_add(h[r][j], codes, weights[j]);
    }
  }
};

/// A tile's activations widened to 16 bits, as many slots as fit; shared by the parts of the panel.
template <int kRows>
struct WidenedRows {
  static constexpr int kSlots = 4096;
  alignas(64) std::int16_t x[kRows][kSlots];
  int begin = 0, end = 0;  ///< slots held

  template <class Simd>
  void fill(const std::uint8_t* a, std::int64_t lda, int rows, int from, int slots) {
    constexpr int kBlock = 2 * Simd::kLanes;
    begin = from;
    end = slots - from < kSlots ? slots : from + kSlots;
    const int count = end - begin;
    for (int r = 0; r < rows; ++r) {
      const std::uint8_t* row = a + r * lda + from;
      int k = 0;
      for (; k + kBlock <= count; k += kBlock) Simd::store(&x[r][k], Simd::load_widened(row + k));
      for (; k < count; ++k) x[r][k] = row[k];
    }
  }
};
struct NothingWidened {};

template <class Policy>
struct Gemm {
  using Simd = typename Policy::Simd;
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr int kVectors = Policy::kVectors;

  template <bool kUsed, int kRows>
  struct Scratch {
    using Type = NothingWidened;
  };
  template <int kRows>
  struct Scratch<true, kRows> {
    using Type = WidenedRows<kRows>;
  };
  using Widened = typename Scratch<Policy::kWidens, Policy::kRows>::Type;

  /// Rows of codes, `slots` of them in each.
  struct Codes {
    const std::uint8_t* a;
    std::int64_t lda;
    int slots;
  };

  /// s += codes of slots [k, end) of R rows, times the weights from `w` on, which moves along.
  template <int R>
  [[gnu::always_inline]] static void contract(const Codes& codes, int k, int end, int chunk, const char*& w,
                                              Widened& widened, Int (&s)[R][kVectors]) {
    const auto [a, lda, slots] = codes;
    while (k < end) {
      int stop = end;
      const char* from = reinterpret_cast<const char*>(a + k);
      std::int64_t row_bytes = lda;
      if constexpr (Policy::kWidens) {
        if (k < widened.begin || k >= widened.end) widened.template fill<Simd>(a, lda, R, k, slots);
        if (widened.end < stop) stop = widened.end;
        from = reinterpret_cast<const char*>(&widened.x[0][k - widened.begin]);
        row_bytes = sizeof widened.x[0];
      }
      const int steps = (stop - k) / Policy::kStep;
      Policy::template group<R>(from, row_bytes, w, steps, chunk, s);
      w += static_cast<std::int64_t>(steps) * Policy::kStepBytes;
      k = stop;
    }
  }

  /// The weights of a part of a panel.
  static const char* part_of(const void* panel, int part, int slots) {
    return static_cast<const char*>(panel) +
           static_cast<std::int64_t>(part) * (slots / Policy::kStep) * Policy::kStepBytes;
  }

  /// Rows [t, t + R) of one part of the panel; kMultiples: groups are added up as integers.
  template <int R, bool kMultiples>
  static void tile(const ByteGemm& g, int slots, int chunk, int t, int part, Widened& widened) {
    const char* w = part_of(g.panel, part, slots);
    const std::uint8_t* a = g.a + t * g.lda;
    const std::int32_t* corrections = g.corrections + part * Policy::kPartColumns;
    Float v[R][kVectors];
    Int total[R][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if constexpr (kMultiples)
          total[r][j] = Simd::set32(0);
        else
          v[r][j] = Simd::zerof();
      }

    int k = 0;
    for (int group = 0; group < g.groups; ++group, corrections += kBytePanel) {
      Int s[R][kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const Int c = Simd::load(corrections + j * Simd::kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) s[r][j] = c;
      }
      contract<R>({a, g.lda, slots}, k, g.group_end[group], chunk, w, widened, s);
      k = g.group_end[group];
      if (g.extra_slots > 0) {
        if constexpr (Policy::kWidens) widened.begin = widened.end = 0;
        w = part_of(g.extra_panel, part, g.extra_slots);
        contract<R>({g.extra + t * g.extra_lda, g.extra_lda, g.extra_slots}, 0, g.extra_slots, chunk, w, widened, s);
        if constexpr (Policy::kWidens) widened.begin = widened.end = 0;
      }
      if constexpr (kMultiples) {
        const Int multiple = Simd::set32(g.multiples[group]);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j)
            total[r][j] = Simd::add32(total[r][j], Simd::multiply32(s[r][j], multiple));
      } else {
        const Float scale = Simd::set1(g.group_scale[group]);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) v[r][j] = Simd::fma(Simd::to_float(s[r][j]), scale, v[r][j]);
      }
      if (g.sums != nullptr) {
        std::int32_t* sums =
            g.sums + (static_cast<std::int64_t>(group) * g.rows + t) * kBytePanel + part * Policy::kPartColumns;
        for (int r = 0; r < R; ++r)
          for (int j = 0; j < kVectors; ++j) Simd::store(sums + r * kBytePanel + j * Simd::kLanes, s[r][j]);
      }
    }
    if constexpr (kMultiples) {
      const Float unit = Simd::set1(g.group_scale[0]);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) v[r][j] = Simd::mul(Simd::to_float(total[r][j]), unit);
    }
    finish<R>(g, t, part, v);
  }

  template <int R>
  [[gnu::always_inline]] static void finish(const ByteGemm& g, int t, int part, const Float (&v)[R][kVectors]) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      Float column[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) column[r] = v[r][j];
      store_outputs<Simd>(g, t, part * Policy::kPartColumns + j * Simd::kLanes, column);
    }
  }

  template <int R>
  static void tile_of(int rows, const ByteGemm& g, int slots, int chunk, int t, int part, Widened& widened) {
    if constexpr (R > 1) {
      if (rows < R) return tile_of<R - 1>(rows, g, slots, chunk, t, part, widened);
    }
    if (g.multiples != nullptr)
      tile<R, true>(g, slots, chunk, t, part, widened);
    else
      tile<R, false>(g, slots, chunk, t, part, widened);
  }

  /// All rows, in tiles whose heights differ by one at most: a short tail tile would leave the multipliers waiting.
  static void run(const ByteGemm& g) {
    if (g.rows <= 0) return;
    if (g.zero_rows) return multiply_after_zero_rows(g, run);
    const int chunk = Policy::kChunked ? narrow_chunk(g.range) : 0;
    const int slots = g.groups > 0 ? g.group_end[g.groups - 1] : 0;
    const int parts = g.sums != nullptr ? Policy::kParts : (g.cols + Policy::kPartColumns - 1) / Policy::kPartColumns;
    const std::int64_t tiles = (g.rows + Policy::kRows - 1) / Policy::kRows;
    Widened widened;
    int t = 0;
    for (std::int64_t i = 0; i < tiles; ++i) {
      const int next = static_cast<int>(g.rows * (i + 1) / tiles);
      if constexpr (Policy::kWidens) widened.begin = widened.end = 0;
      fetch_next(g, g.next_rows * i / tiles, g.next_rows * (i + 1) / tiles);
      for (int part = 0; part < parts; ++part) tile_of<Policy::kRows>(next - t, g, slots, chunk, t, part, widened);
      t = next;
    }
  }
};

}  // namespace
}  // namespace igq::kernels
