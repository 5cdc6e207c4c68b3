// fp32 matrix product: against double precision with the textbook bound, across instruction sets bit by bit, no access
// beyond the last row's last column.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/float_tables.h"

namespace igq::test {
using namespace kernels;

namespace {

struct Shape {
  int rows, k, n;
};
int panels(int n) { return (n + kFloatPanel - 1) / kFloatPanel; }

// Row counts around the tile heights 4, 6 and 14; k around the block of 384; n with every kind of tail.
std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (int rows : {1, 2, 3, 4, 5, 6, 7, 11, 13, 14, 15, 29})
    for (int n : {1, 15, 16, 17, 31, 32, 33, 64, 83}) result.push_back({rows, 9, n});
  for (int k : {1, 2, 8, 64, 255, 256, 257, 300, 384, 385, 513, 1000}) result.push_back({8, k, 37});
  result.push_back({197, 64, 197});
  result.push_back({1, 384, 1000});
  result.push_back({65, 384, 100});
  result.push_back({209, 40, 20});
  return result;
}

Floats pack(const Kernels& kernels, const Floats& w, int ldw, bool transposed, int k, int n) {
  Floats packed(static_cast<std::size_t>(panels(n)) * 16 * k, -1);
  kernels.pack_f32(w.data(), ldw, transposed, k, n, packed.data());
  return packed;
}

TEST(GemmF32, IsWithinTheErrorBoundOfTheExactProduct) {
  for (const Shape& s : shapes()) {
    const int ldx = s.k + 3;
    const Floats x = random_floats(static_cast<std::size_t>(s.rows - 1) * ldx + s.k, 1);
    const Floats w = random_floats(static_cast<std::size_t>(s.k) * s.n, 2), bias = random_floats(s.n, 3);
    for (const auto& [name, kernels] : float_tables()) {
      const Floats packed = pack(kernels, w, s.n, false, s.k, s.n);
      Floats y(static_cast<std::size_t>(s.rows) * s.n, -77);
      kernels.gemm_f32({.x = x.data(),
                        .ldx = ldx,
                        .rows = s.rows,
                        .k = s.k,
                        .packed = packed.data(),
                        .panel_begin = 0,
                        .panel_end = panels(s.n),
                        .n = s.n,
                        .bias = bias.data(),
                        .accumulate = false,
                        .y = y.data(),
                        .ldy = s.n});
      for (int t = 0; t < s.rows; ++t)
        for (int c = 0; c < s.n; ++c) {
          double exact = bias[c], magnitude = std::abs(bias[c]);
          for (int i = 0; i < s.k; ++i) {
            const double product = double{x[t * ldx + i]} * w[i * s.n + c];
            exact += product;
            magnitude += std::abs(product);
          }
          // k roundings, each at most 2^-24 of a partial sum: Higham's gamma_k.
          const double bound = 1.01 * s.k * 0x1p-24 * magnitude;
          ASSERT_NEAR(y[t * s.n + c], exact, bound) << name << " " << s.rows << "x" << s.k << "x" << s.n;
        }
    }
  }
}

TEST(GemmF32, EveryInstructionSetGivesTheSameBits) {
  for (const Shape& s : shapes()) {
    const int ldx = s.k + 1, ldy = s.n + 5;
    Floats x = random_floats(static_cast<std::size_t>(s.rows - 1) * ldx + s.k, 4);
    const Floats w = random_floats(static_cast<std::size_t>(s.k) * s.n, 5), bias = random_floats(s.n, 6);
    if (s.rows > 2) x[ldx] = std::numeric_limits<float>::infinity();
    for (int mode = 0; mode < 3; ++mode) {
      const float* b = mode == 1 ? nullptr : bias.data();
      const Floats start = random_floats(static_cast<std::size_t>(s.rows - 1) * ldy + s.n, 7);
      Floats expected = start;
      const Floats packed = pack(reference(), w, s.n, false, s.k, s.n);
      reference().gemm_f32({.x = x.data(),
                            .ldx = ldx,
                            .rows = s.rows,
                            .k = s.k,
                            .packed = packed.data(),
                            .panel_begin = 0,
                            .panel_end = panels(s.n),
                            .n = s.n,
                            .bias = b,
                            .accumulate = mode == 2,
                            .y = expected.data(),
                            .ldy = ldy});
      for (const auto& [name, kernels] : float_tables()) {
        Floats y = start;
        kernels.gemm_f32({.x = x.data(),
                          .ldx = ldx,
                          .rows = s.rows,
                          .k = s.k,
                          .packed = packed.data(),
                          .panel_begin = 0,
                          .panel_end = panels(s.n),
                          .n = s.n,
                          .bias = b,
                          .accumulate = mode == 2,
                          .y = y.data(),
                          .ldy = ldy});
        expect_same_bits(expected, y, name);  // also: the columns between n and ldy are untouched
      }
    }
  }
}

TEST(GemmF32, AddsInTheOrderOfK) {
  const int k = 700;
  const Floats x = random_floats(k, 8), w = random_floats(k, 9);
  float expected = 0.5F;
  for (int i = 0; i < k; ++i) expected = std::fma(x[i], w[i], expected);
  Floats bias(1, 0.5F);
  for (const auto& [name, kernels] : float_tables()) {
    Floats y(1);
    kernels.gemm_f32({.x = x.data(),
                      .ldx = k,
                      .rows = 1,
                      .k = k,
                      .packed = pack(kernels, w, 1, false, k, 1).data(),
                      .panel_begin = 0,
                      .panel_end = 1,
                      .n = 1,
                      .bias = bias.data(),
                      .accumulate = false,
                      .y = y.data(),
                      .ldy = 1});
    EXPECT_EQ(y[0], expected) << name;
  }
}

TEST(GemmF32, ARangeOfPanelsLeavesTheOthersAlone) {
  const int rows = 9, k = 20, n = 75;
  const Floats x = random_floats(rows * k, 10), w = random_floats(k * n, 11);
  for (const auto& [name, kernels] : float_tables()) {
    const Floats packed = pack(kernels, w, n, false, k, n);
    Floats whole(rows * n);
    kernels.gemm_f32({.x = x.data(),
                      .ldx = k,
                      .rows = rows,
                      .k = k,
                      .packed = packed.data(),
                      .panel_begin = 0,
                      .panel_end = 5,
                      .n = n,
                      .bias = nullptr,
                      .accumulate = false,
                      .y = whole.data(),
                      .ldy = n});
    for (int begin = 0; begin < 5; ++begin)
      for (int end = begin; end <= 5; ++end) {
        Floats y(rows * n, -5);
        kernels.gemm_f32({.x = x.data(),
                          .ldx = k,
                          .rows = rows,
                          .k = k,
                          .packed = packed.data(),
                          .panel_begin = begin,
                          .panel_end = end,
                          .n = n,
                          .bias = nullptr,
                          .accumulate = false,
                          .y = y.data(),
                          .ldy = n});
        for (int t = 0; t < rows; ++t)
          for (int c = 0; c < n; ++c)
            ASSERT_EQ(y[t * n + c], c >= 16 * begin && c < 16 * end ? whole[t * n + c] : -5.0F) << name;
      }
  }
}

TEST(PackF32, GivesPanelsFromEitherLayoutAndZerosMissingColumns) {
  for (int k : {1, 7, 8, 16, 19, 64})
    for (int n : {1, 8, 15, 16, 17, 40}) {
      const int ldw = n + 2, ldt = k + 3;
      const Floats w = random_floats(static_cast<std::size_t>(k - 1) * ldw + n, 12);
      Floats wt(static_cast<std::size_t>(n - 1) * ldt + k);
      for (int i = 0; i < k; ++i)
        for (int c = 0; c < n; ++c) wt[c * ldt + i] = w[i * ldw + c];
      for (const auto& [name, kernels] : float_tables()) {
        const Floats packed = pack(kernels, w, ldw, false, k, n);
        for (int p = 0; p < panels(n); ++p)
          for (int i = 0; i < k; ++i)
            for (int c = 0; c < 16; ++c)
              ASSERT_EQ(packed[(p * k + i) * 16 + c], 16 * p + c < n ? w[i * ldw + 16 * p + c] : 0.0F) << name;
        expect_same_bits(packed, pack(kernels, wt, ldt, true, k, n), name + ", transposed");
      }
    }
}

}  // namespace
}  // namespace igq::test
