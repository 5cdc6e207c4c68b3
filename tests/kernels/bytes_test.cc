// The byte product on every instruction set: integers against a 64-bit oracle, everything bit by bit against the
// reference table, on awkward shapes and on codes at the ends of every range.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/aligned_buffer.h"
#include "tests/kernels/byte_case.h"
#include "tests/kernels/byte_tables.h"

namespace igq::test {
using namespace kernels;

namespace {

class Bytes : public ::testing::TestWithParam<std::size_t> {
 protected:
  const Kernels& kernels() const { return byte_tables()[GetParam()].kernels; }
  const Kernels& reference() const { return byte_tables()[0].kernels; }

  void check(const Shape& shape, std::uint64_t seed = 1) const {
    const Case c(shape, seed);
    const Result got = run(kernels(), c);
    EXPECT_FALSE(got.sums_change_outputs);
    const std::vector<std::int64_t> sums = oracle_sums(c);
    ASSERT_EQ(got.sums.size(), sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) ASSERT_EQ(got.sums[i], sums[i]) << "sum " << i;
    if (GetParam() != 0) {
      const Result want = run(reference(), c);
      EXPECT_TRUE(got.a == want.a) << "permuted codes";
      EXPECT_TRUE(got.row_sum == want.row_sum) << "row sums";
      EXPECT_TRUE(got.corrections == want.corrections) << "corrections";
      EXPECT_TRUE(got.y == want.y) << "outputs";
    } else {
      check_outputs(c, got, sums);
    }
  }

  /// The reference's floats against the formula in double; the bound is that of a chain of float roundings.
  static void check_outputs(const Case& c, const Result& got, const std::vector<std::int64_t>& sums) {
    const auto rows = static_cast<std::size_t>(c.shape.rows);
    const double eps = 0x1.0p-24 * (c.groups + 4);
    for (std::size_t t = 0; t < rows; ++t) {
      double row_sum = 0, row_magnitude = 0;
      for (std::size_t g = 0, k = 0; g < c.group_end.size(); ++g) {
        std::int64_t s = 0;
        for (; k < static_cast<std::size_t>(c.group_end[g]); ++k)
          if (c.order[k] >= 0)
            s += c.codes[t * static_cast<std::size_t>(c.ldc) + static_cast<std::size_t>(c.order[k])] -
                 (c.shape.zero ? c.zero[k] : 0);
        row_sum += static_cast<double>(s) * c.group_scale[g];
        row_magnitude += std::abs(static_cast<double>(s) * c.group_scale[g]);
      }
      if (c.shape.row_sum) {
        EXPECT_NEAR(got.row_sum[t], row_sum, eps * row_magnitude);
      }
      for (std::size_t n = 0; n < static_cast<std::size_t>(c.ldy); ++n) {
        const float y = got.y[t * static_cast<std::size_t>(c.ldy) + n];
        if (n >= static_cast<std::size_t>(c.shape.cols)) {
          ASSERT_EQ(y, -7.0F) << "written outside the panel";
          continue;
        }
        double v = 0, magnitude = 0;
        if (c.shape.multiples) {
          std::int64_t total = 0;
          for (std::size_t g = 0; g < c.group_end.size(); ++g)
            total += c.multiples[g] * sums[(g * rows + t) * kBytePanel + n];
          v = static_cast<double>(static_cast<std::int32_t>(static_cast<std::uint32_t>(total))) * c.group_scale[0];
          magnitude = std::abs(v);
        }
        for (std::size_t g = 0; !c.shape.multiples && g < c.group_end.size(); ++g) {
          const double term = static_cast<double>(sums[(g * rows + t) * kBytePanel + n]) * c.group_scale[g];
          v += term;
          magnitude += std::abs(term);
        }
        if (c.shape.row_sum) {
          v -= row_sum * c.col_zero[n];
          magnitude += row_magnitude * std::abs(c.col_zero[n]);
        }
        const double scale = static_cast<double>(c.col_scale[n]) * (c.shape.row_scale ? c.row_scale[t] : 1.0F);
        v *= scale;
        magnitude *= std::abs(scale);
        if (c.shape.bias) {
          v += c.bias[n];
          magnitude += std::abs(c.bias[n]);
        }
        if (c.shape.add) {
          const double gamma = c.shape.gamma ? c.gamma[n] : 1.0F;
          v = v * gamma - 7.0;
          magnitude = magnitude * std::abs(gamma) + 7.0;
        }
        ASSERT_NEAR(y, v, 2 * eps * magnitude) << "row " << t << " column " << n;
      }
    }
  }
};

TEST_P(Bytes, Rows) {
  for (int rows : {0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 31, 33, 49, 65, 197})
    for (int bits : {4, 6, 8}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows, " << bits << " bits");
      check({.rows = rows, .group_channels = {19, 8, 37}, .a_bits = bits, .w_bits = bits}, 3);
    }
}

TEST_P(Bytes, Columns) {
  for (int cols = 1; cols <= kBytePanel; ++cols)
    for (int bits : {4, 8}) {
      SCOPED_TRACE(::testing::Message() << cols << " columns, " << bits << " bits");
      check({.rows = 9, .group_channels = {33, 18}, .cols = cols, .a_bits = bits, .w_bits = bits}, 5);
    }
}

TEST_P(Bytes, Groups) {
  const std::vector<std::vector<int>> shapes = {{1},
                                                {2},
                                                {3},
                                                {4},
                                                {5},
                                                {0},
                                                {0, 0},
                                                {0, 7},
                                                {7, 0},
                                                {7, 0, 0, 9},
                                                {0, 1},
                                                {1, 0},
                                                {1, 1, 1, 1},
                                                {0, 5, 0, 1, 0},
                                                {64},
                                                {63, 65},
                                                {31, 1, 33, 0},
                                                {128, 4, 100}};
  for (const auto& groups : shapes)
    for (int bits : {2, 4, 6, 8}) {
      SCOPED_TRACE(::testing::Message() << ::testing::PrintToString(groups) << " " << bits << " bits");
      check({.rows = 13, .group_channels = groups, .a_bits = bits, .w_bits = bits});
    }
  for (int count = 1; count <= 40; ++count) {
    Random random(static_cast<std::uint64_t>(count));
    std::vector<int> groups;
    for (int i = 0; i < count; ++i) groups.push_back(static_cast<int>(random.below(24)));
    SCOPED_TRACE(::testing::Message() << ::testing::PrintToString(groups));
    check({.rows = 17, .group_channels = groups}, static_cast<std::uint64_t>(count));
  }
}

TEST_P(Bytes, GroupsAddedUpAsIntegers) {
  const std::vector<std::vector<int>> shapes = {{1}, {0}, {0, 7}, {7, 0, 0, 9}, {64, 3}, {31, 1, 33, 0}, {128, 4, 100}};
  for (const auto& groups : shapes)
    for (int rows : {1, 7, 16, 33})
      for (int bits : {4, 8}) {
        SCOPED_TRACE(::testing::Message()
                     << ::testing::PrintToString(groups) << " " << rows << " rows, " << bits << " bits");
        check({.rows = rows,
               .group_channels = groups,
               .cols = 37,
               .a_bits = bits,
               .w_bits = bits,
               .zero_low = -20,
               .zero_high = 40,
               .multiples = true});
      }
  // Sums beyond 2^31 wrap alike everywhere.
  check({.rows = 5,
         .group_channels = {3000, 900},
         .fill = Fill::kLowest,
         .zero_low = 1023,
         .zero_high = 1023,
         .multiples = true});
}

TEST_P(Bytes, SlotsCountedMoreThanOnce) {
  for (int rows : {1, 15, 17, 49})
    for (int channels : {1, 5, 64, 65, 700})
      for (int cols : {1, 17, 64})
        for (int extra : {1, 7, 64, 300})
          for (int bits : {4, 8}) {
            SCOPED_TRACE(::testing::Message() << rows << "x" << channels << "x" << cols << " and " << extra);
            const bool options = (rows + extra) % 2 == 0;
            check({.rows = rows,
                   .group_channels = {channels},
                   .cols = cols,
                   .a_bits = bits,
                   .w_bits = bits,
                   .zero_low = -20,
                   .zero_high = 40,
                   .row_scale = options,
                   .row_sum = options,
                   .bias = options,
                   .extra = extra,
                   .zero_rows = extra % 3 == 1});
          }
}

TEST_P(Bytes, RowsOfZeroPoints) {
  for (int rows : {1, 3, 11, 12, 13, 28, 29, 45, 64})
    for (int channels : {1, 63, 65, 200})
      for (int cols : {1, 17, 64})
        for (int extra : {0, 40}) {
          SCOPED_TRACE(::testing::Message() << rows << "x" << channels << "x" << cols << " and " << extra);
          check({.rows = rows,
                 .group_channels = {channels},
                 .cols = cols,
                 .zero_low = -250,
                 .zero_high = 250,
                 .row_scale = false,
                 .extra = extra,
                 .zero_rows = true});
        }
}

TEST_P(Bytes, OutputsAddedToWhatIsThere) {
  for (int rows : {1, 5, 16, 33})
    for (int cols : {1, 16, 23, 64})
      for (bool gamma : {false, true})
        for (const std::vector<int>& groups : {std::vector<int>{70}, std::vector<int>{19, 8, 37}}) {
          SCOPED_TRACE(::testing::Message() << rows << "x" << cols << ", " << groups.size() << " groups");
          check(
              {.rows = rows, .group_channels = groups, .cols = cols, .row_scale = false, .add = true, .gamma = gamma});
          if (groups.size() == 1)
            check({.rows = rows,
                   .group_channels = groups,
                   .cols = cols,
                   .zero_low = -20,
                   .zero_high = 40,
                   .row_scale = false,
                   .extra = 70,
                   .add = true,
                   .gamma = gamma});
        }
}

TEST_P(Bytes, OneChannelPerGroup) { check({.rows = 21, .group_channels = std::vector<int>(300, 1)}); }

TEST_P(Bytes, OptionalOperands) {
  for (unsigned mask = 0; mask < 16; ++mask) {
    SCOPED_TRACE(mask);
    check({.rows = 15,
           .group_channels = {30, 11},
           .cols = 29,
           .zero = (mask & 1) != 0,
           .row_scale = (mask & 2) != 0,
           .row_sum = (mask & 4) != 0,
           .bias = (mask & 8) != 0});
  }
}

TEST_P(Bytes, EveryCodeRangeAtItsEnds) {
  for (int a_bits = 2; a_bits <= 8; ++a_bits)
    for (int w_bits = 2; w_bits <= 8; ++w_bits)
      for (Fill fill : {Fill::kRandom, Fill::kLowest, Fill::kHighest, Fill::kEnds})
        for (int low : {-768, 0, 1023}) {
          SCOPED_TRACE(::testing::Message() << "a" << a_bits << " w" << w_bits << " fill " << static_cast<int>(fill));
          check({.rows = 8,
                 .group_channels = {5, 602, 41},
                 .a_bits = a_bits,
                 .w_bits = w_bits,
                 .fill = fill,
                 .zero = low != 0,
                 .zero_low = low,
                 .zero_high = 1023});
        }
}

/// Codes high and weights low (and the reverse) give the largest magnitude of one sign that 16 bits must not overflow.
TEST_P(Bytes, OppositeEnds) {
  for (int a_bits = 2; a_bits <= 8; ++a_bits)
    for (int w_bits = 2; w_bits <= 8; ++w_bits) {
      Case c({.rows = 6, .group_channels = {1100, 37}, .a_bits = a_bits, .w_bits = w_bits, .zero = false});
      for (int low : {0, 1}) {
        for (auto& code : c.codes) code = static_cast<std::uint8_t>(c.range.a_max);
        for (auto& code : c.w) code = static_cast<std::int8_t>(low != 0 ? -c.range.w_abs_max : c.range.w_abs_max - 1);
        const Result got = run(kernels(), c);
        const auto want = oracle_sums(c);
        for (std::size_t i = 0; i < want.size(); ++i)
          ASSERT_EQ(got.sums[i], want[i]) << "a" << a_bits << " w" << w_bits;
        EXPECT_TRUE(got == run(reference(), c));
      }
    }
}

TEST_P(Bytes, LargestSum) {
  for (int bits : {4, 6, 8})
    for (Fill fill : {Fill::kLowest, Fill::kHighest, Fill::kRandom})
      for (int zero : {-768, 1023}) {
        SCOPED_TRACE(::testing::Message() << bits << " bits, zero " << zero);
        check({.rows = 7,
               .group_channels = {16384},
               .a_bits = bits,
               .w_bits = bits,
               .fill = fill,
               .zero_low = zero,
               .zero_high = zero});
      }
  // |S| = 1023 * 128 * 16384, just below 2^31.
  Case c({.rows = 7, .group_channels = {16384}, .fill = Fill::kLowest, .zero_low = 1023, .zero_high = 1023});
  EXPECT_EQ(run(kernels(), c).sums[0], 2145386496);
}

TEST_P(Bytes, Transposed) {
  for (int slots : {1, 3, 4, 7, 8, 16, 31, 32, 33, 48, 64, 80, 96, 100, 128})
    for (int cols : {1, 5, 8, 15, 17, 32, 33, 63, 64})
      for (int bits : {4, 8})
        for (bool zero : {false, true}) {
          Case c({.rows = 5, .group_channels = {slots}, .cols = cols, .a_bits = bits, .w_bits = bits, .zero = zero});
          // Undo the shuffle: channels in natural order.
          for (int k = 0; k < slots; ++k) c.order[static_cast<std::size_t>(k)] = k;
          const auto corrections = [&](const Kernels& table, AlignedBuffer<std::byte>& panel) {
            panel.resize(table.panel_bytes(c.slots, 1, c.range));
            std::vector<std::int32_t> result(kBytePanel);
            table.pack_bytes_transposed({c.wt.data(), c.channels, cols, c.range}, slots, c.slots, c.zeros(),
                                        panel.data(), result.data());
            return result;
          };
          AlignedBuffer<std::byte> transposed, straight(kernels().panel_bytes(c.slots, 1, c.range));
          std::vector<std::int32_t> want(kBytePanel);
          kernels().pack_bytes({c.w.data() + Case::kFirstColumn, c.ldw, cols, c.range},
                               {c.order.data(), c.slots, c.zeros(), c.group_end.data(), 1}, straight.data(),
                               want.data());
          EXPECT_EQ(corrections(kernels(), transposed), want);
          EXPECT_EQ(std::memcmp(transposed.data(), straight.data(), straight.size()), 0)
              << slots << " slots, " << cols << " columns";
        }
}

TEST_P(Bytes, PermuteManyWidths) {
  Random random(9);
  for (int channels : {1, 2, 15, 16, 31, 32, 33, 47, 63, 64, 65, 100, 192, 384, 1000, 4096, 5000})
    for (int rows : {1, 5, 15, 16, 17, 32, 50}) {
      SCOPED_TRACE(::testing::Message() << channels << " channels, " << rows << " rows");
      std::vector<int> groups(1 + random.below(6), 0);
      for (int i = 0; i < channels; ++i) ++groups[random.below(groups.size())];
      Case c({.rows = rows, .group_channels = groups});
      const auto permute = [&](const Kernels& table) {
        std::vector<std::uint8_t> out(static_cast<std::size_t>(rows * c.slots), 7);
        std::vector<float> sums(static_cast<std::size_t>(rows));
        table.permute_codes(c.codes.data(), c.ldc, rows,
                            {c.order.data(), c.slots, c.zeros(), c.group_end.data(), c.groups, c.group_scale.data()},
                            out.data(), c.slots, sums.data());
        return std::pair(out, sums);
      };
      EXPECT_TRUE(permute(kernels()) == permute(reference()));
    }
}

TEST_P(Bytes, CodeSumsAndOffsets) {
  Random random(4);
  for (int cols : {1, 3, 31, 32, 33, 64, 100, 1000, 16384})
    for (int rows : {1, 2, 5}) {
      const std::size_t ld = static_cast<std::size_t>(cols) + 1;
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows) * ld);
      for (auto& code : codes) code = static_cast<std::uint8_t>(cols > 100 ? 255 : random.below(256));
      std::vector<float> sums(static_cast<std::size_t>(rows));
      kernels().code_sums(codes.data(), cols + 1, rows, cols, 13, sums.data());
      for (std::size_t t = 0; t < sums.size(); ++t) {
        const auto row = codes.begin() + static_cast<std::ptrdiff_t>(t * ld);
        EXPECT_EQ(sums[t], static_cast<float>(std::accumulate(row, row + cols, 0) - 13 * cols)) << cols << " columns";
      }
      const std::vector<std::uint8_t> before = codes;
      kernels().offset_codes(codes.data(), static_cast<std::int64_t>(codes.size()) - 1, 128);
      EXPECT_EQ(codes.back(), before.back());
      for (std::size_t i = 0; i + 1 < codes.size(); ++i)
        ASSERT_EQ(static_cast<std::int8_t>(codes[i]), static_cast<int>(before[i]) - 128);
    }
}

TEST_P(Bytes, UnpackCodes) {
  for (int bits = 2; bits <= 8; ++bits)
    for (int count : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1001}) {
      Random random(static_cast<std::uint64_t>(count));
      std::vector<std::int8_t> want(static_cast<std::size_t>(count));
      std::vector<std::uint8_t> packed((want.size() * static_cast<std::size_t>(bits) + 7) / 8);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const auto code = static_cast<int>(random.below(1U << bits));
        want[i] = static_cast<std::int8_t>(code - (1 << (bits - 1)));
        for (std::size_t b = 0; b < static_cast<std::size_t>(bits); ++b) {
          const std::size_t at = i * static_cast<std::size_t>(bits) + b;
          if (((code >> b) & 1) != 0) packed[at / 8] = static_cast<std::uint8_t>(packed[at / 8] | (1U << (at % 8)));
        }
      }
      std::vector<std::int8_t> got(want.size() + 1, 99);
      kernels().unpack_codes(packed.data(), count, bits, got.data());
      EXPECT_EQ(got.back(), 99);
      got.pop_back();
      EXPECT_EQ(got, want) << bits << " bits, " << count << " codes";
    }
}

INSTANTIATE_TEST_SUITE_P(Tables, Bytes, ::testing::Range(std::size_t{0}, byte_tables().size()), [](const auto& param) {
  std::string name = byte_tables()[param.param].name;  // "avx512-vnni": GoogleTest takes no '-'
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace igq::test
