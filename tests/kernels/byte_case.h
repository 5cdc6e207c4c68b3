// One random problem for the byte product: codes, weights, groups, zero-points and scales, in natural channel order and
// in slot order, and what a kernel table makes of it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "kernels/table.h"

namespace igq::test {
using namespace kernels;

enum class Fill { kRandom, kLowest, kHighest, kEnds };

struct Shape {
  int rows = 7;
  std::vector<int> group_channels;  ///< channels of each group, 0 allowed
  int cols = kBytePanel;
  int a_bits = 8, w_bits = 8;
  Fill fill = Fill::kRandom;
  bool zero = true;  ///< zero-points; else null
  int zero_low = -768, zero_high = 1023;
  bool row_scale = true, row_sum = true, bias = true;
  bool multiples = false;           ///< groups are added up as integers
  int extra = 0;                    ///< slots that are counted once more; one group
  bool zero_rows = false;           ///< zero-points come as rows of codes; one group
  bool add = false, gamma = false;  ///< outputs are added to what y holds, times gamma
};

struct Case {
  Shape shape;
  int channels = 0, slots = 0, groups = 0;
  std::int64_t ldc = 0, ldw = 0, lda = 0, ldy = 0;
  CodeRange range{};
  std::vector<std::uint8_t> codes;  // [rows][ldc]
  std::vector<std::int32_t> extra;  // slots, ascending
  std::vector<std::int8_t> w;       // [channels][ldw]
  std::vector<std::int8_t> wt;      // [cols][channels rounded up to 4]
  std::vector<std::int32_t> order, group_end;
  std::vector<std::int16_t> zero;
  std::vector<std::int32_t> multiples;  // [groups], empty without
  std::vector<float> group_scale, row_scale, col_zero, col_scale, bias, gamma;
  static constexpr int kFirstColumn = 3;  ///< n0 of the panel in w

  explicit Case(Shape s, std::uint64_t seed = 1);
  const std::int16_t* zeros() const { return shape.zero ? zero.data() : nullptr; }
};

struct Result {
  std::vector<std::uint8_t> a;            // [rows][lda], slots then untouched bytes
  std::vector<std::uint8_t> extra;        // [rows][shape.extra]
  std::vector<float> row_sum;             // [rows]
  std::vector<std::int32_t> corrections;  // [groups][kBytePanel]
  std::vector<std::int32_t> sums;         // [groups][rows][kBytePanel]
  std::vector<float> y;                   // [rows][ldy]
  bool sums_change_outputs = false;       // asking for `sums` must not
  bool operator==(const Result&) const = default;
};

/// permute, pack, multiply.
Result run(const Kernels& kernels, const Case& c);

/// S_g[t][n] of every group from its definition in 64 bits, natural channel order.
std::vector<std::int64_t> oracle_sums(const Case& c);

}  // namespace igq::test
