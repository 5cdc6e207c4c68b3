// Quantizers made from ranges: on every instruction set those that make_quantizer() and make_centred_quantizer() give,
// NaN and infinities included, and nothing written past the last one.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/table.h"
#include "quant/uniform.h"

namespace igq {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
using Floats = std::vector<float>;
using Integers = std::vector<std::int32_t>;
constexpr float kUntouched = 77;

struct Ranges {
  std::vector<float> lower{0, 0, -1, 1, -2, 0, -0.0f, -1e-44f, -3e38f, 5, -5, 0, -kInf, -1},
      upper{0, 1, 0, 2, -1, 1e-44f, 0.0f, 1e-44f, 3e38f, 5, -5, 3e38f, kInf, kInf};
  Ranges() {
    Random random(4);
    for (int i = 0; i < 500; ++i) {
      const auto low = static_cast<float>(random.normal()), width = static_cast<float>(std::exp(3.0 * random.normal()));
      lower.push_back(low);
      upper.push_back(low + width);
    }
  }
  std::size_t size() const { return lower.size(); }
};

TEST(Quantizers, OfRangesAreThoseOfOneRange) {
  const Ranges ranges;
  for (const Isa isa : supported_isas())
    for (int bits = 2; bits <= 8; ++bits)
      for (const std::size_t n : {std::size_t{1}, std::size_t{17}, std::size_t{48}, ranges.size()}) {
        const Floats &lower = ranges.lower, &upper = ranges.upper;
        Floats scale(n + 1, kUntouched), inverse = scale, zero = scale;
        kernels::kernels_for(isa).range_quantizers(lower.data(), upper.data(), static_cast<int>(n), code_max(bits),
                                                   scale.data(), inverse.data(), zero.data());
        for (std::size_t i = 0; i < n; ++i) {
          const UniformQuantizer q = make_quantizer({lower[i], upper[i]}, bits);
          EXPECT_EQ(scale[i], q.scale) << isa_name(isa) << ": " << lower[i] << " " << upper[i];
          EXPECT_EQ(inverse[i], q.inv_scale) << isa_name(isa) << ": " << lower[i] << " " << upper[i];
          EXPECT_EQ(zero[i], static_cast<float>(q.zero_point)) << isa_name(isa) << ": " << lower[i] << " " << upper[i];
        }
        EXPECT_EQ(scale[n] + inverse[n] + zero[n], 3 * kUntouched) << isa_name(isa);
      }
}

TEST(Quantizers, OfScaledChannelsTakeTheFirstGroupThatIsWideEnough) {
  Ranges ranges;
  ranges.lower.push_back(kNan), ranges.upper.push_back(1);
  ranges.lower.push_back(0), ranges.upper.push_back(0.5f);  // exactly the first group's
  const std::vector<float> widest{0.5f, 1, 2, 4, 8}, multiple{1, 2, 3, 5, 8}, copies{1, 1, 1, 2, 3};
  for (const Isa isa : supported_isas())
    for (const int groups : {1, 2, 5})
      for (const ZeroPointLimits limits : {ZeroPointLimits{}, ZeroPointLimits{-40.0f, 55.0f, 0.25f}})
        for (const bool multiples : {false, true})
          for (const std::size_t n : {std::size_t{1}, std::size_t{17}, std::size_t{48}, ranges.size()}) {
            constexpr int kBits = 4;
            const auto last = static_cast<std::ptrdiff_t>(n);
            const Floats mn(ranges.lower.end() - last, ranges.lower.end()),
                mx(ranges.upper.end() - last, ranges.upper.end());
            std::vector<float> scales, inverses;
            for (const float w : widest)
              scales.push_back(w / code_max(kBits)), inverses.push_back(1.0f / scales.back());
            Floats scale(n + 1, kUntouched), inverse = scale, zero = scale, each = scale;
            Integers group(n + 1, 77), count = group;
            kernels::kernels_for(isa).scale_quantizers(
                {groups, widest.data(), scales.data(), inverses.data(), multiples ? multiple.data() : nullptr,
                 multiples ? copies.data() : nullptr, code_max(kBits), limits.min, limits.max, limits.offset_width},
                mn.data(), mx.data(), static_cast<int>(n),
                {scale.data(), inverse.data(), zero.data(), group.data(), each.data(), count.data()});
            for (std::size_t i = 0; i < n; ++i) {
              int g = 0;
              const float offset = limits.offset_width * std::abs(mn[i] + mx[i]);
              while (g + 1 < groups && (!(mx[i] - mn[i] <= widest[static_cast<std::size_t>(g)]) ||
                                        offset > widest[static_cast<std::size_t>(g)]))
                ++g;
              const auto at = static_cast<std::size_t>(g);
              ASSERT_EQ(group[i], g) << isa_name(isa) << ": " << mn[i] << " " << mx[i];
              const UniformQuantizer q = make_centred_quantizer({mn[i], mx[i]}, scales[at], kBits, limits);
              EXPECT_EQ(scale[i], q.scale) << isa_name(isa);
              EXPECT_EQ(inverse[i], q.inv_scale) << isa_name(isa);
              EXPECT_EQ(zero[i], static_cast<float>(q.zero_point)) << isa_name(isa) << ": " << mn[i] << " " << mx[i];
              EXPECT_EQ(each[i], multiples ? multiple[at] : kUntouched) << isa_name(isa);
              EXPECT_EQ(count[i], multiples ? static_cast<std::int32_t>(copies[at]) : 77) << isa_name(isa);
            }
            EXPECT_EQ(scale[n] + inverse[n] + zero[n] + each[n] + static_cast<float>(group[n] + count[n]),
                      6 * kUntouched)
                << isa_name(isa);
          }
}

}  // namespace
}  // namespace igq
