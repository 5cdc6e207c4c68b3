// Zero-points times multiples as rows of codes before the others (ByteGemm::zero_rows): their products with a panel are
// what zero-points take from every output column (docs/method.md, section 8.1).
#pragma once

#include "kernels/table.h"

namespace igq::kernels {
namespace {

/// multiply(g) for a `g` that has them: the rows of zero-points by themselves, then the others with their corrections.
template <class Multiply>
void multiply_after_zero_rows(const ByteGemm& g, const Multiply& multiply) {
  std::int32_t sums[kZeroRows * kBytePanel], corrections[kBytePanel];
  ByteGemm zeros = g;
  zeros.zero_rows = false;
  zeros.a -= kZeroRows * g.lda;
  zeros.rows = kZeroRows;
  if (g.extra_slots > 0) zeros.extra -= kZeroRows * g.extra_lda;
  zeros.row_sum = zeros.row_scale = nullptr;
  zeros.sums = sums;
  zeros.y = nullptr;
  zeros.next = nullptr;
  multiply(zeros);
  for (int n = 0; n < kBytePanel; ++n) {
    const auto sum = [&](int row) { return static_cast<std::uint32_t>(sums[row * kBytePanel + n] - g.corrections[n]); };
    const std::uint32_t shifted = sum(0) + (sum(1) << 8U) + (sum(2) << 16U);  // modulo 2^32, as all sums of this kind
    corrections[n] =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(g.corrections[n]) + kZeroOffset * sum(3) - shifted);
  }
  ByteGemm rest = g;
  rest.zero_rows = false;
  rest.corrections = corrections;
  multiply(rest);
}

}  // namespace
}  // namespace igq::kernels
