// The fp32 matrix product, written once over V (generic/vec16.h). Contract in table.h: panels of 16 columns packed
// [k][16].
//
// A tile of R rows and P panels keeps R * P vectors of sums in registers while k runs; the tile's size belongs to V.
// k and rows are cut into blocks so that a block of a panel stays in the L1 cache and the block of x in L2; between
// blocks of k the sums rest in y, which gives the same bits because every output adds its products in the order of k in
// any case. Block sizes and prefetches were chosen by bench/gemm_f32_bench.cc on Zen 3.
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

constexpr int kBlockK = 384;     // 24 KB of a panel
constexpr int kBlockRows = 208;  // 208 * 384 floats of x are 312 KB; 197 tokens are one block

template <class V>
void pack_f32(const float* w, std::int64_t ldw, bool transposed, int k, int n, float* out) noexcept {
  for (int n0 = 0; n0 < n; n0 += 16, out += std::int64_t{16} * k) {
    const int cols = n - n0 < 16 ? n - n0 : 16;
    for (int i = 0; i < k; ++i) {
      float* to = out + std::int64_t{16} * i;
      if (!transposed) {
        const float* from = w + i * ldw + n0;
        (cols == 16 ? V::load(from) : V::load_part(from, cols)).store(to);
        continue;
      }
      for (int c = 0; c < cols; ++c) to[c] = w[(n0 + c) * ldw + i];
      for (int c = cols; c < 16; ++c) to[c] = 0;
    }
  }
}

/// What the tiles of one block of k share.
struct GemmBlock {
  std::int64_t ldx, ldy;
  std::int64_t panel_stride;  ///< floats from a panel to the next
  int k;
  bool resume;  ///< sums start from y, not from the bias
};

/// One tile: `cols` of its 16 * P columns exist.
template <class V, int R, int P>
[[gnu::noinline]] void gemm_tile(const GemmBlock& block, const float* x, const float* w, const float* bias, float* y,
                                 int cols) noexcept {
  V sum[R][P];
  const auto lanes = [cols](int p) { return cols - 16 * p < 16 ? cols - 16 * p : 16; };
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    V start = V::splat(0);
    if (!block.resume && bias != nullptr) {
      const float* at = bias + 16 * p;
      start = lanes(p) == 16 ? V::load(at) : V::load_part(at, lanes(p));
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float* at = y + r * block.ldy + 16 * p;
      sum[r][p] = !block.resume ? start : lanes(p) == 16 ? V::load(at) : V::load_part(at, lanes(p));
    }
  }
  const std::int64_t ldx = block.ldx, stride = block.panel_stride;
  // Lines of y lie far apart, so no hardware prefetcher sees them coming: ask for those of the tile below, which is
  // next. Addresses beyond the last row do no harm.
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) __builtin_prefetch(y + (R + r) * block.ldy + 16 * p, 1);
  for (int k = 0; k < block.k; ++k) {
    V b[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) b[p] = V::load(w + p * stride + std::int64_t{16} * k);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V a = V::splat(x[r * ldx + k]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = V::fma(a, b[p], sum[r][p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      float* at = y + r * block.ldy + 16 * p;
      if (lanes(p) == 16)
        sum[r][p].store(at);
      else
        sum[r][p].store_part(at, lanes(p));
    }
}

template <class V, int P, int R = V::kTileRows>
inline void gemm_tile_of(int height, const GemmBlock& block, const float* x, const float* w, const float* bias,
                         float* y, int cols) noexcept {
  if (height == R) {
    if constexpr (P <= V::tile_panels(R)) gemm_tile<V, R, P>(block, x, w, bias, y, cols);
  } else if constexpr (R > 1) {
    gemm_tile_of<V, P, R - 1>(height, block, x, w, bias, y, cols);
  }
}

/// All rows against P panels. Tiles have heights that differ by one at most.
template <class V, int P>
void gemm_panels(const GemmBlock& block, int rows, const float* x, const float* w, const float* bias, float* y,
                 int cols) noexcept {
  const int tiles = (rows + V::kTileRows - 1) / V::kTileRows;
  const int height = rows / tiles, higher = rows % tiles;
  for (int i = 0, row = 0; i < tiles; ++i) {
    const int h = i < higher ? height + 1 : height;
    // The next panels come from afar: fetch them piece by piece while this one is used. With few tiles there is no
    // time.
    if (tiles > 3)
      for (int p = 0; p < P; ++p)
        for (int line = block.k * i / tiles; line < block.k * (i + 1) / tiles; ++line)
          __builtin_prefetch(w + (P + p) * block.panel_stride + std::int64_t{16} * line, 0, 2);
    gemm_tile_of<V, P>(h, block, x + row * block.ldx, w, bias, y + row * block.ldy, cols);
    row += h;
  }
}

/// One block of rows and of k against all panels; g.x, g.packed and g.y are those of the block.
template <class V>
void gemm_block(const GemmBlock& block, const FloatGemm& g) noexcept {
  const int tiles = (g.rows + V::kTileRows - 1) / V::kTileRows;
  const int wide = V::tile_panels((g.rows + tiles - 1) / tiles);
  for (int panel = g.panel_begin; panel < g.panel_end;) {
    const int panels = g.panel_end - panel >= wide ? wide : 1;
    const int n0 = 16 * panel, cols = g.n - n0 < 16 * panels ? g.n - n0 : 16 * panels;
    const float* w = g.packed + panel * block.panel_stride;
    const float* b = g.bias != nullptr ? g.bias + n0 : nullptr;
    switch (panels) {
      case 4:
        gemm_panels<V, 4>(block, g.rows, g.x, w, b, g.y + n0, cols);
        break;
      case 3:
        gemm_panels<V, 3>(block, g.rows, g.x, w, b, g.y + n0, cols);
        break;
      case 2:
        gemm_panels<V, 2>(block, g.rows, g.x, w, b, g.y + n0, cols);
        break;
      default:
        gemm_panels<V, 1>(block, g.rows, g.x, w, b, g.y + n0, cols);
        break;
    }
    panel += panels;
  }
}

template <class V>
void gemm_f32(const FloatGemm& g) noexcept {
  const int k_blocks = g.k > 0 ? (g.k + kBlockK - 1) / kBlockK : 1;
  const int row_blocks = (g.rows + kBlockRows - 1) / kBlockRows, depth = (g.k + k_blocks - 1) / k_blocks;
  for (int i = 0, row = 0; i < row_blocks; ++i) {
    FloatGemm part = g;
    part.rows = g.rows / row_blocks + (i < g.rows % row_blocks ? 1 : 0);
    part.y = g.y + row * g.ldy;
    for (int k0 = 0; k0 < g.k; k0 += depth) {
      const GemmBlock block{g.ldx, g.ldy, std::int64_t{16} * g.k, g.k - k0 < depth ? g.k - k0 : depth,
                            g.accumulate || k0 > 0};
      part.x = g.x + row * g.ldx + k0;
      part.packed = g.packed + std::int64_t{16} * k0;
      gemm_block<V>(block, part);
    }
    row += part.rows;
  }
}

}  // namespace
}  // namespace igq::kernels
