// Weight codes per output channel (docs/method.md, section 5) against numpy.
#include "quant/weights.h"

#include <gtest/gtest.h>

#include "tests/quant/fixture_cases.h"

namespace igq {
namespace {

TEST(Weights, EqualNumpy) {
  for (const auto& c : test::quant_cases("weights")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const int out = static_cast<int>(c["w"].size()), in = static_cast<int>(c["w"][0].size()), bits = c["bits"];
    const WeightPlan plan = quantize_weights(test::numbers(c["w"]), in, out, bits, c["eps"]);
    EXPECT_EQ(plan.bits, bits);
    EXPECT_EQ(plan.scale, test::numbers(c["scale"]));
    const std::vector<int> zero = test::integers(c["zero_point"]), codes = test::integers(c["codes"]);
    ASSERT_EQ(plan.zero_point.size(), zero.size());
    for (std::size_t i = 0; i < zero.size(); ++i) EXPECT_EQ(plan.zero_point[i], zero[i]);
    for (int n = 0; n < out; ++n)
      for (int k = 0; k < in; ++k) {
        const auto natural = static_cast<std::size_t>(n * in + k), stored = static_cast<std::size_t>(k * out + n);
        EXPECT_EQ(plan.codes[stored] + (1 << (bits - 1)), codes[natural]) << "output " << n << " input " << k;
      }
  }
}

}  // namespace
}  // namespace igq
