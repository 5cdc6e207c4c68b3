// Row kernels: against double precision with derived tolerances, across instruction sets bit by bit, on odd sizes,
// unaligned rows and buffers that end at an unmapped page; NaN and infinities where table.h or vec_math.h define
// them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>

#include "tests/kernels/float_tables.h"

namespace igq::test {
using namespace kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kColumns[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 48, 100, 197};
constexpr int kRows[] = {1, 3, 4, 6};

/// [rows][cols] inside rows of `ld`; the columns in between hold what no kernel may change.
struct Matrix {
  int rows, cols, ld;
  Floats values;
  Matrix(int rows_in, int cols_in, std::uint64_t seed, double sigma = 2)
      : rows(rows_in),
        cols(cols_in),
        ld(cols_in + 3),
        values(random_floats(static_cast<std::size_t>(rows - 1) * ld + cols, seed, sigma)) {}
  float* data() { return values.data(); }
  const float* data() const { return values.data(); }
  float at(int t, int c) const { return values[static_cast<std::size_t>(t) * ld + c]; }
  float& at(int t, int c) { return values[static_cast<std::size_t>(t) * ld + c]; }
};

/// Runs `check(rows, cols)` on all sizes.
void for_sizes(const std::function<void(int, int)>& check) {
  for (int rows : kRows)
    for (int cols : kColumns) {
      check(rows, cols);
      if (::testing::Test::HasFatalFailure()) return;
    }
}

/// `run(kernels, matrix, low, high)` must give the same bits on every table, in the matrix and in both vectors.
using RowCall = std::function<void(const Kernels&, Matrix&, Floats&, Floats&)>;
void expect_same(const Matrix& input, const Floats& low, const Floats& high, const RowCall& run) {
  Matrix expected = input;
  Floats expected_low = low, expected_high = high;
  run(reference(), expected, expected_low, expected_high);
  for (const auto& [name, kernels] : float_tables()) {
    Matrix actual = input;
    Floats l = low, h = high;
    run(kernels, actual, l, h);
    expect_same_bits(expected.values, actual.values, name);
    expect_same_bits(expected_low, l, name + ", low");
    expect_same_bits(expected_high, h, name + ", high");
  }
}

/// A few values no ordinary computation likes.
void add_specials(Matrix& m) {
  const float specials[] = {kNan, kInf, -kInf, 0.0F, -0.0F, 1e38F, -1e38F, 1e-40F};
  for (int i = 0; i < 8; ++i) m.at(i % m.rows, i * 5 % m.cols) = specials[i];
}

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }

double exact_activation(Activation kind, double x) {
  switch (kind) {
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}
constexpr Activation kActivations[] = {Activation::kGelu, Activation::kGeluTanh, Activation::kQuickGelu,
                                       Activation::kSilu, Activation::kRelu};

TEST(Activate, IsExactTo3e7OfX) {
  const int count = 200001;
  for (Activation kind : kActivations)
    for (const auto& [name, kernels] : float_tables()) {
      Floats x(count);
      for (int i = 0; i < count; ++i) x[i] = static_cast<float>((i - count / 2) * 1e-4);
      const Floats before = x;
      kernels.activate(kind, x.data(), count, 1, count, nullptr, nullptr);
      for (int i = 0; i < count; ++i) {
        const double exact = exact_activation(kind, before[i]);
        ASSERT_NEAR(x[i], exact, 2.3e-7 * std::abs(before[i]))
            << name << " " << static_cast<int>(kind) << " " << before[i];
      }
    }
}

TEST(Activate, LimitsAreExactAndNanStays) {
  for (Activation kind : kActivations)
    for (const auto& [name, kernels] : float_tables()) {
      Floats x(std::vector<float>{kInf, -kInf, 1000, -1000, 3e38F, -3e38F, kNan, 0});
      kernels.activate(kind, x.data(), 8, 1, 8, nullptr, nullptr);
      const float expected[] = {kInf, 0, 1000, 0, 3e38F, 0, kNan, 0};
      for (int i = 0; i < 8; ++i) {
        if (std::isnan(expected[i]))
          EXPECT_TRUE(std::isnan(x[i])) << name;
        else
          EXPECT_EQ(x[i], expected[i]) << name << " " << static_cast<int>(kind) << " " << i;
      }
    }
}

TEST(Activate, SameBitsAndRange) {
  for (Activation kind : kActivations)
    for_sizes([kind](int rows, int cols) {
      Matrix m(rows, cols, 1, 3);
      const Floats low(cols, kInf), high(cols, -kInf);
      const RowCall run = [kind](const Kernels& k, Matrix& x, Floats& l, Floats& h) {
        k.activate(kind, x.data(), x.ld, x.rows, x.cols, l.data(), h.data());
      };
      expect_same(m, low, high, run);
      Matrix y = m;
      Floats l = low, h = high;
      run(reference(), y, l, h);
      for (int c = 0; c < cols; ++c) {
        float least = kInf, most = -kInf;
        for (int t = 0; t < rows; ++t) least = std::min(least, y.at(t, c)), most = std::max(most, y.at(t, c));
        ASSERT_EQ(l[c], least);
        ASSERT_EQ(h[c], most);
      }
      add_specials(m);
      expect_same(m, low, high, run);
    });
}

TEST(Ranges, SameBitsNanIgnoredAndMerged) {
  for_sizes([](int rows, int cols) {
    Matrix m(rows, cols, 2);
    const Floats low(cols, 0.25F), high(cols, -0.5F);  // what was seen before stays
    const RowCall channels = [](const Kernels& k, Matrix& x, Floats& l, Floats& h) {
      k.channel_range(x.data(), x.ld, x.rows, x.cols, l.data(), h.data());
    };
    const RowCall by_row = [](const Kernels& k, Matrix& x, Floats& l, Floats& h) {
      k.row_range(x.data(), x.ld, x.rows, x.cols, l.data(), h.data());
    };
    m.at(rows - 1, cols - 1) = kNan;
    expect_same(m, low, high, channels);
    expect_same(m, Floats(rows, 9), Floats(rows, 9), by_row);
    Matrix many(16 + rows, cols, 5);  // AVX-512 takes 16 rows at a time
    many.at(3, cols / 2) = kNan;
    expect_same(many, Floats(many.rows, 9), Floats(many.rows, 9), by_row);
    Floats l = low, h = high, rl(rows), rh(rows);
    channels(reference(), m, l, h);
    by_row(reference(), m, rl, rh);
    const auto merge = [](float v, float& least, float& most) {
      if (std::isnan(v)) return;
      least = std::min(least, v);
      most = std::max(most, v);
    };
    for (int c = 0; c < cols; ++c) {
      float least = 0.25F, most = -0.5F;
      for (int t = 0; t < rows; ++t) merge(m.at(t, c), least, most);
      ASSERT_EQ(l[c], least);
      ASSERT_EQ(h[c], most);
    }
    for (int t = 0; t < rows; ++t) {
      float least = kInf, most = -kInf;
      for (int c = 0; c < cols; ++c) merge(m.at(t, c), least, most);
      ASSERT_EQ(rl[t], least);
      ASSERT_EQ(rh[t], most);
    }
  });
}

TEST(Rows, CentredChannels) {
  for (const auto& [rows, cols] : {std::pair{1, 1}, {5, 17}, {33, 64}, {70, 31}}) {
    Matrix m(rows, cols, 3);
    for (const auto& [name, kernels] : float_tables()) {
      const auto n = static_cast<std::size_t>(cols);
      std::vector<float> mean(n + 1, 77), low(n + 1, 1e9F), high(n + 1, -1e9F);
      std::vector<float> y(static_cast<std::size_t>(rows) * (n + 2), 77);
      kernels.centre_channels(m.data(), m.ld, rows, cols, mean.data(), y.data(), cols + 2, low.data(), high.data());
      for (int c = 0; c < cols; ++c) {
        float sum = 0, least = 1e9F, most = -1e9F;
        for (int t = 0; t < rows; ++t) sum += m.at(t, c);
        const float middle = sum / static_cast<float>(rows);
        ASSERT_EQ(mean[static_cast<std::size_t>(c)], middle) << name;
        for (int t = 0; t < rows; ++t) {
          const float value = m.at(t, c) - middle;
          ASSERT_EQ(y[static_cast<std::size_t>(t * (cols + 2) + c)], value) << name;
          least = std::min(least, value);
          most = std::max(most, value);
        }
        ASSERT_EQ(low[static_cast<std::size_t>(c)], least) << name;
        ASSERT_EQ(high[static_cast<std::size_t>(c)], most) << name;
      }
      for (int t = 0; t < rows; ++t) ASSERT_EQ(y[static_cast<std::size_t>(t * (cols + 2) + cols)], 77) << name;
      ASSERT_EQ(mean[n], 77) << name;
      ASSERT_EQ(low[n], 1e9F) << name;
      ASSERT_EQ(high[n], -1e9F) << name;
    }
  }
}

TEST(LayerNorm, IsWithinRoundingOfDoubleAndSameBits) {
  for_sizes([](int rows, int cols) {
    Matrix m(rows, cols, 3);
    for (float& v : std::span(m.data(), m.values.size())) v += 1;
    const Floats gamma = random_floats(cols, 4), beta = random_floats(cols, 5), low(cols, kInf), high(cols, -kInf);
    const RowCall run = [&](const Kernels& k, Matrix& x, Floats& l, Floats& h) {
      k.layer_norm({x.data(), x.ld, x.rows, x.cols}, {gamma.data(), beta.data(), 1e-6F}, x.data(), x.ld, nullptr,
                   l.data(), h.data());
    };
    expect_same(m, low, high, run);
    // Rows in another order: the last one first.
    const RowCall turned = [&](const Kernels& k, Matrix& x, Floats& l, Floats& h) {
      const Matrix from = x;
      std::vector<std::int32_t> to(static_cast<std::size_t>(rows));
      for (int t = 0; t < rows; ++t) to[static_cast<std::size_t>(t)] = rows - 1 - t;
      k.layer_norm({from.values.data(), x.ld, x.rows, x.cols}, {gamma.data(), beta.data(), 1e-6F}, x.data(), x.ld,
                   to.data(), l.data(), h.data());
    };
    expect_same(m, low, high, turned);
    Matrix straight = m, last_first = m;
    Floats l1 = low, h1 = high, l2 = low, h2 = high;
    run(reference(), straight, l1, h1);
    turned(reference(), last_first, l2, h2);
    for (int t = 0; t < rows; ++t)
      for (int c = 0; c < cols; ++c) ASSERT_EQ(last_first.at(rows - 1 - t, c), straight.at(t, c));
    Matrix y = m;
    Floats l = low, h = high;
    run(reference(), y, l, h);
    for (int t = 0; t < rows; ++t) {
      double mean = 0, variance = 0, largest = 0;
      for (int c = 0; c < cols; ++c) mean += m.at(t, c), largest = std::max(largest, std::abs(double{m.at(t, c)}));
      mean /= cols;
      for (int c = 0; c < cols; ++c) variance += (m.at(t, c) - mean) * (m.at(t, c) - mean);
      const double inverse = 1 / std::sqrt(variance / cols + 1e-6F);
      for (int c = 0; c < cols; ++c) {
        const double normal = (m.at(t, c) - mean) * inverse;
        // The mean is off by at most (cols / 16 + 6) roundings of `largest`; every other step rounds relatively.
        const double shift = (cols / 16 + 6) * 0x1p-24 * largest * inverse;
        const double bound =
            std::abs(gamma[c]) * (2 * shift + (cols / 16 + 12) * 0x1p-24 * (std::abs(normal) + shift)) +
            0x1p-23 * (std::abs(beta[c]) + std::abs(normal * gamma[c]));
        ASSERT_NEAR(y.at(t, c), normal * gamma[c] + beta[c], bound) << rows << "x" << cols;
        ASSERT_LE(l[c], y.at(t, c));
        ASSERT_GE(h[c], y.at(t, c));
      }
    }
    add_specials(m);
    expect_same(m, low, high, run);
  });
}

TEST(Softmax, IsWithinRoundingOfDoubleAndSameBits) {
  for_sizes([](int rows, int cols) {
    for (bool with_bias : {false, true}) {
      Matrix m(rows, cols, 6, 8);
      const Matrix bias(rows, cols, 7, 3);
      const float scale = 0.37F;
      const Floats none(1), row_max(rows, 9);
      const RowCall run = [&](const Kernels& k, Matrix& x, Floats&, Floats& h) {
        k.softmax_rows({x.data(), x.ld, x.rows, x.cols}, {scale, with_bias ? bias.data() : nullptr, bias.ld}, h.data());
      };
      expect_same(m, none, row_max, run);
      Matrix y = m;
      Floats unused = none, largest = row_max;
      run(reference(), y, unused, largest);
      for (int t = 0; t < rows; ++t) {
        const auto logit = [&](int c) { return double{scale} * m.at(t, c) + (with_bias ? bias.at(t, c) : 0.0F); };
        double sum = 0, top = 0, most = 0;
        for (int c = 0; c < cols; ++c) sum += std::exp(logit(c)), top = std::max(top, std::abs(logit(c)));
        for (int c = 0; c < cols; ++c) {
          const double exact = std::exp(logit(c)) / sum;
          // Rounding of the logits (twice their magnitude, in each of two places), exp, the sum and two products.
          ASSERT_NEAR(y.at(t, c), exact, exact * 0x1p-24 * (6 * top + cols / 16 + 14)) << rows << "x" << cols;
          most = std::max(most, double{y.at(t, c)});
        }
        ASSERT_EQ(largest[t], most);
      }
      add_specials(m);
      expect_same(m, none, row_max, run);
    }
  });
}

TEST(Softmax, MaskedEntriesAreZeroAndNanFillsTheRow) {
  for (const auto& [name, kernels] : float_tables()) {
    Floats x(std::vector<float>{1, -kInf, 1, -200, kNan, 0, 0, 0, -kInf, -kInf, -kInf, -kInf});
    kernels.softmax_rows({x.data(), 4, 3, 4}, {1, nullptr, 0}, nullptr);
    EXPECT_EQ(x[0], 0.5F) << name;
    EXPECT_EQ(x[1], 0) << name;
    EXPECT_EQ(x[3], 0) << name;
    for (int i = 4; i < 12; ++i) EXPECT_TRUE(std::isnan(x[i])) << name;
  }
}

/// The two halves that integer attention uses: codes of what softmax_rows gives, and their sums.
TEST(Softmax, CodesAreThoseOfTheProbabilities) {
  for_sizes([](int rows, int cols) {
    for (int q_max : {3, 15, 255}) {
      Matrix m(rows, cols, 16, 8);
      if (cols > 8) m.at(0, 3) = -kInf, m.at(rows - 1, 7) = rows > 1 ? kNan : 100.0F;
      Floats inv_scale = random_floats(rows, 17, 2 * q_max);
      for (int i = 0; i < rows; ++i) inv_scale[i] = std::abs(inv_scale[i]);
      const Floats zero(rows);
      const auto size = static_cast<std::size_t>(rows * cols);
      Matrix p = m;
      std::vector<std::uint8_t> want(size), got(size);
      Floats row_max(rows, 9);
      reference().softmax_rows({p.data(), p.ld, rows, cols}, {0.37F, nullptr, 0}, row_max.data());
      reference().quantize_rows({p.data(), p.ld, rows, cols}, {inv_scale.data(), zero.data(), q_max}, want.data(),
                                cols);
      for (const auto& [name, kernels] : float_tables()) {
        Matrix e = m;
        Floats inverse(rows, 9), sums(rows, 9);
        kernels.softmax_exp({e.data(), e.ld, rows, cols}, {0.37F, nullptr, 0}, inverse.data());
        kernels.softmax_codes({e.data(), e.ld, rows, cols}, inverse.data(), inv_scale.data(), q_max, got.data(), cols,
                              sums.data());
        expect_same_bits(row_max, inverse, name);
        ASSERT_EQ(got, want) << name << " " << rows << "x" << cols;
        for (int t = 0; t < rows; ++t)
          ASSERT_EQ(sums[t], std::accumulate(want.begin() + t * cols, want.begin() + (t + 1) * cols, 0)) << name;
      }
    }
  });
}

/// Both halves in one, with a scale per row: the largest probability gets the largest code and the rest follow within
/// half a step.
TEST(Softmax, RowCodesAreProbabilitiesInUnitsOfTheRow) {
  for (int rows : {1, 4, 16, 18})
    for (int cols : kColumns)
      for (int q_max : {3, 15, 255})
        for (const bool with_bias : {false, true}) {
          const float scale = 0.37F;
          Matrix m(rows, cols, 18, 8), bias(rows, cols, 19, 3);
          if (cols > 8) m.at(0, 3) = -kInf, bias.at(rows - 1, 7) = -kInf, m.at(rows - 1, 5) = -1e6F;
          const float* b = with_bias ? bias.data() : nullptr;
          const auto size = static_cast<std::size_t>(rows * cols);
          std::vector<std::uint8_t> want(size), got(size);
          Floats sums(rows, 9), want_scales(rows, 9);
          reference().softmax_row_codes({m.data(), m.ld, rows, cols}, {scale, b, bias.ld}, q_max, want.data(), cols,
                                        want_scales.data(), sums.data());
          for (int t = 0; t < rows; ++t) {
            const auto logit = [&](int c) {
              return static_cast<double>(m.at(t, c)) * scale + (with_bias ? bias.at(t, c) : 0.0);
            };
            double top = -kInf, sum = 0.0;
            for (int c = 0; c < cols; ++c) top = std::max(top, logit(c));
            for (int c = 0; c < cols; ++c) sum += std::exp(logit(c) - top);
            // Exponentials and their sum are within 1e-6, logits within roundings of their size.
            const double error = 2e-6 + 4e-7 * std::abs(top);
            ASSERT_NEAR(static_cast<double>(want_scales[t]) * q_max * sum, 1.0, error) << rows << "x" << cols;
            for (int c = 0; c < cols; ++c)
              ASSERT_NEAR(want[static_cast<std::size_t>(t * cols + c)], q_max * std::exp(logit(c) - top),
                          0.5 + q_max * error)
                  << rows << "x" << cols << " " << t << " " << c;
          }
          for (const auto& [name, kernels] : float_tables()) {
            Floats row_scale(rows, 9);
            kernels.softmax_row_codes({m.data(), m.ld, rows, cols}, {scale, b, bias.ld}, q_max, got.data(), cols,
                                      row_scale.data(), sums.data());
            expect_same_bits(want_scales, row_scale, name + " " + std::to_string(rows) + "x" + std::to_string(cols));
            ASSERT_EQ(got, want) << name << " " << rows << "x" << cols;
            for (int t = 0; t < rows; ++t)
              ASSERT_EQ(sums[t], std::accumulate(want.begin() + t * cols, want.begin() + (t + 1) * cols, 0)) << name;
          }
        }
}

TEST(Softmax, RowsThatHaveNoSoftmaxGetNoScale) {
  for (const auto& [name, kernels] : float_tables()) {
    for (const float bad : {kNan, kInf}) {
      Matrix m(18, 33, 20, 8);
      m.at(17, 32) = bad;
      std::vector<std::uint8_t> codes(18 * 33);
      Floats row_scale(18, 9), sums(18, 9);
      kernels.softmax_row_codes({m.data(), m.ld, 18, 33}, {1.0F, nullptr, 0}, 255, codes.data(), 33, row_scale.data(),
                                sums.data());
      EXPECT_TRUE(std::isnan(row_scale[17])) << name;
      EXPECT_FALSE(std::isnan(row_scale[16])) << name;
      EXPECT_EQ(codes[17 * 33 + 32], 0) << name;
    }
  }
}

TEST(Residual, AddsWithOneRounding) {
  for_sizes([](int rows, int cols) {
    Matrix m(rows, cols, 8);
    const Matrix r(rows, cols, 9);
    const Floats gamma = random_floats(cols, 10), none(1);
    for (const float* g : {gamma.data(), static_cast<const float*>(nullptr)}) {
      const RowCall run = [&](const Kernels& k, Matrix& x, Floats&, Floats&) {
        k.add_residual(x.data(), x.ld, r.data(), r.ld, x.rows, x.cols, g);
      };
      expect_same(m, none, none, run);
      Matrix y = m;
      Floats a = none, b = none;
      run(reference(), y, a, b);
      for (int t = 0; t < rows; ++t)
        for (int c = 0; c < cols; ++c)
          ASSERT_EQ(y.at(t, c), std::fma(g != nullptr ? g[c] : 1.0F, r.at(t, c), m.at(t, c)));
    }
  });
}

TEST(SwiGlu, MultipliesTheGate) {
  for_sizes([](int rows, int cols) {
    Matrix x(rows, 2 * cols, 11);
    Matrix y(rows, cols, 12);
    const Floats none(1);
    const RowCall run = [&](const Kernels& k, Matrix& out, Floats&, Floats&) {
      k.swiglu(x.data(), x.ld, rows, cols, out.data(), out.ld);
    };
    expect_same(y, none, none, run);
    Floats a = none, b = none;
    run(reference(), y, a, b);
    for (int t = 0; t < rows; ++t)
      for (int c = 0; c < cols; ++c) {
        const double exact = exact_activation(Activation::kSilu, x.at(t, c)) * x.at(t, cols + c);
        ASSERT_NEAR(y.at(t, c), exact, 3e-7 * std::abs(double{x.at(t, c)} * x.at(t, cols + c)));
      }
    add_specials(x);
    expect_same(y, none, none, run);
  });
}

/// clamp(rint(x * inv_scale) + zero, 0, q_max), NaN 0, from table.h.
float code_of(float x, float inv_scale, float zero, int q_max) {
  const float shifted = std::nearbyint(x * inv_scale) + zero;
  return std::isnan(shifted) ? 0.0F : std::clamp(shifted, 0.0F, static_cast<float>(q_max));
}

TEST(Quantize, MultiplesAreExact) {
  for (int q_max : {15, 255})
    for_sizes([&](int rows, int cols) {
      Matrix m(rows, cols, 13);
      Floats inv = random_floats(cols, 14, 0.2 * q_max), zero = random_floats(cols, 15, 0.3 * q_max),
             multiple = random_floats(cols, 16, 80);
      for (int i = 0; i < cols; ++i) {
        inv[i] = std::abs(inv[i]), zero[i] = std::nearbyint(zero[i]);
        multiple[i] = std::clamp(std::abs(std::nearbyint(multiple[i])), 1.0F, q_max == 15 ? 17.0F : 255.0F);
      }
      if (rows > 1) add_specials(m);
      for (const auto& [name, k] : float_tables())
        for (const auto& [form, ones] :
             {std::pair{CodeForm::kCodes, false}, {CodeForm::kProducts, false}, {CodeForm::kProducts, true}}) {
          if (form == CodeForm::kProducts && q_max == 255 && !ones) continue;
          const int ldc = cols + 2;
          Guarded<std::uint8_t> codes(static_cast<std::size_t>(rows - 1) * ldc + cols, 77);
          std::vector<std::int32_t> sums(static_cast<std::size_t>(rows), 5);
          k.quantize_multiples({m.data(), m.ld, rows, cols}, {inv.data(), zero.data(), q_max},
                               ones ? nullptr : multiple.data(), form, codes.data(), ldc, sums.data());
          for (int t = 0; t < rows; ++t) {
            int sum = 5;
            for (int c = 0; c < ldc && t * ldc + c < static_cast<int>(codes.size()); ++c) {
              const int got = codes[static_cast<std::size_t>(t) * ldc + c];
              if (c >= cols) {
                ASSERT_EQ(got, 77) << name;
                continue;
              }
              const int code = static_cast<int>(code_of(m.at(t, c), inv[c], zero[c], q_max)),
                        product = code * (ones ? 1 : static_cast<int>(multiple[c]));
              ASSERT_EQ(got, form == CodeForm::kCodes ? code : product) << name << " " << rows << "x" << cols;
              sum += product;
            }
            ASSERT_EQ(sums[static_cast<std::size_t>(t)], sum) << name << " " << rows << "x" << cols;
          }
        }
    });
  // More columns than lanes count exactly at once.
  const int cols = 9001;
  Matrix m(1, cols, 3);
  for (int c = 0; c < cols; ++c) m.at(0, c) = 1e9F;
  const Floats ones(cols, 1.0F), zeros(cols, 0.0F), multiple(cols, 255.0F);
  std::vector<std::uint8_t> codes(cols);
  for (const auto& [name, k] : float_tables()) {
    std::int32_t sum = 0;
    k.quantize_multiples({m.data(), m.ld, 1, cols}, {ones.data(), zeros.data(), 255}, multiple.data(), CodeForm::kCodes,
                         codes.data(), cols, &sum);
    EXPECT_EQ(sum, cols * 255 * 255) << name;
  }
}

TEST(Quantize, RowsOfZeroPointsAreExact) {
  for (const int cols : {1, 15, 64, 65, 200}) {
    Floats zero = random_floats(cols, 3, 400), multiple = random_floats(cols, 4, 100);
    for (int c = 0; c < cols; ++c) {
      zero[c] = std::clamp(std::nearbyint(zero[c]), -768.0F, 1023.0F);
      multiple[c] = std::clamp(std::abs(std::nearbyint(multiple[c])), 1.0F, 255.0F);
    }
    for (const auto& [name, k] : float_tables()) {
      const std::int64_t stride = cols + 3;
      std::vector<std::uint8_t> rows(static_cast<std::size_t>(kZeroRows * stride), 77);
      k.zero_rows(zero.data(), multiple.data(), cols, rows.data(), stride);
      for (int c = 0; c < stride; ++c) {
        const auto at = [&](int row) { return static_cast<int>(rows[static_cast<std::size_t>(row * stride + c)]); };
        if (c >= cols) {
          EXPECT_EQ(at(0) + at(1) + at(2) + at(3), 4 * 77) << name;
          continue;
        }
        EXPECT_EQ(at(0) + 256 * at(1) + 65536 * at(2),
                  static_cast<int>(multiple[c] * (zero[c] + static_cast<float>(kZeroOffset))))
            << name;
        EXPECT_EQ(at(3), static_cast<int>(multiple[c])) << name;
      }
    }
  }
}

TEST(Quantize, CodesAreExact) {
  for (int q_max : {3, 15, 255})
    for (bool per_row : {false, true})
      for_sizes([&](int rows, int cols) {
        Matrix m(rows, cols, 13);
        const int count = per_row ? rows : cols;
        Floats inv = random_floats(count, 14, 0.2 * q_max), zero = random_floats(count, 15, 0.3 * q_max);
        for (int i = 0; i < count; ++i) inv[i] = std::abs(inv[i]), zero[i] = std::nearbyint(zero[i]);
        Floats scale(count);
        for (int i = 0; i < count; ++i) scale[i] = 1 / inv[i];
        if (cols > 2) m.at(0, 1) = 2.5F, inv[0] = 1;  // halves go to even
        if (rows > 1) add_specials(m);
        for (const auto& [name, k] : float_tables()) {
          const int ldc = cols + 2;
          Guarded<std::uint8_t> codes(static_cast<std::size_t>(rows - 1) * ldc + cols, 77);
          (per_row ? k.quantize_rows : k.quantize_channels)({m.data(), m.ld, rows, cols},
                                                            {inv.data(), zero.data(), q_max}, codes.data(), ldc);
          Matrix simulated = m;
          (per_row ? k.fake_quantize_rows : k.fake_quantize_channels)({simulated.data(), m.ld, rows, cols},
                                                                      scale.data(), {inv.data(), zero.data(), q_max});
          for (int t = 0; t < rows; ++t)
            for (int c = 0; c < ldc && t * ldc + c < static_cast<int>(codes.size()); ++c) {
              const int code = codes[static_cast<std::size_t>(t) * ldc + c];
              if (c >= cols) {
                ASSERT_EQ(code, 77) << name;
                continue;
              }
              const int q = per_row ? t : c;
              ASSERT_EQ(code, code_of(m.at(t, c), inv[q], zero[q], q_max)) << name << " " << rows << "x" << cols;
              ASSERT_EQ(simulated.at(t, c), (static_cast<float>(code) - zero[q]) * scale[q]) << name;
            }
        }
      });
}

}  // namespace
}  // namespace igq::test
