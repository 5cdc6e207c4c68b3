// The uniform quantizer (docs/method.md, section 2) against numpy, and what holds for it whatever the input.
#include "quant/uniform.h"

#include <cmath>
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/quant/fixture_cases.h"

namespace igq {
namespace {

TEST(UniformQuantizer, EqualsNumpy) {
  for (const auto& c : test::quant_cases("quantizer")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const UniformQuantizer q = make_quantizer({test::number(c["lower"]), test::number(c["upper"])}, c["bits"]);
    EXPECT_EQ(q.scale, test::number(c["scale"]));
    EXPECT_EQ(q.zero_point, c["zero_point"].get<int>());
    const std::vector<float> x = test::numbers(c["x"]);
    const std::vector<int> codes = test::integers(c["codes"]);
    ASSERT_EQ(x.size(), codes.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(quantize(x[i], q), codes[i]) << "x = " << x[i];
  }
}

TEST(UniformQuantizer, ZeroIsExactAndInsideBoundsTheErrorIsHalfAStep) {
  Random random(7);
  for (int bits = 2; bits <= 8; ++bits)
    for (int round = 0; round < 200; ++round) {
      const auto a = static_cast<float>(random.normal()), b = static_cast<float>(random.normal());
      const Bounds bounds{std::min(a, b), std::max(a, b)};
      const UniformQuantizer q = make_quantizer(bounds, bits);
      EXPECT_EQ(dequantize(quantize(0.0f, q), q), 0.0f);
      const float lower = std::min(bounds.lower, 0.0f), upper = std::max(bounds.upper, 0.0f);
      const float x = lower + (upper - lower) * static_cast<float>(random.uniform());
      // The rounded zero-point shifts the codes by up to half a step against the bounds, so that at the shorter end up
      // to half a step is clipped: no more than rounding loses.
      EXPECT_LE(std::abs(dequantize(quantize(x, q), q) - x), q.scale * 0.5001f) << bits << " bits, " << x;
    }
}

TEST(CentredQuantizer, HoldsEveryRangeNoWiderThanItsCodes) {
  Random random(8);
  for (int bits = 2; bits <= 8; ++bits)
    for (int round = 0; round < 200; ++round) {
      const float scale = 0.01f + static_cast<float>(random.uniform());
      const float width = scale * static_cast<float>(code_max(bits) - 1) * static_cast<float>(random.uniform());
      const float lower = static_cast<float>(random.normal()) * 20.0f * scale;
      const UniformQuantizer q = make_centred_quantizer({lower, lower + width}, scale, bits);
      for (const float x : {lower, lower + width / 3.0f, lower + width})
        EXPECT_LE(std::abs(dequantize(quantize(x, q), q) - x), scale * 0.501f) << bits << " bits, " << x;
    }
}

TEST(CentredQuantizer, ZeroPointStaysWithinItsLimits) {
  EXPECT_EQ(make_centred_quantizer({1e9f, 1e9f}, 1.0f, 4).zero_point, kZeroPointMin);
  EXPECT_EQ(make_centred_quantizer({-1e9f, -1e9f}, 1.0f, 4).zero_point, kZeroPointMax);
}

}  // namespace
}  // namespace igq
