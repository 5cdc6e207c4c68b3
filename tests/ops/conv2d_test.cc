// Conv2d against the sum written out, on shapes of detectors' layers; the same bits on every instruction set and number
// of threads.
#include "ops/conv2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace igq {
namespace {

struct FloatCase {
  ConvShape shape;
  MapGrid grid;
  bool bias = true;
};

std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(random.next() >> 40) / 8388608.0f - 1.0f;
  return values;
}

double expected(const FloatCase& c, const std::vector<float>& x, const std::vector<float>& w, std::array<int, 4> at) {
  const auto [image, oy, ox, o] = at;
  double sum = 0.0;
  for (int ky = 0; ky < c.shape.kernel; ++ky)
    for (int kx = 0; kx < c.shape.kernel; ++kx) {
      const int y = oy * c.shape.stride + ky * c.shape.dilation - c.shape.padding,
                z = ox * c.shape.stride + kx * c.shape.dilation - c.shape.padding;
      if (y < 0 || z < 0 || y >= c.grid.height || z >= c.grid.width) continue;
      for (int i = 0; i < c.shape.in; ++i)
        sum += static_cast<double>(
                   x[static_cast<std::size_t>(((image * c.grid.height + y) * c.grid.width + z) * c.shape.in + i)]) *
               w[static_cast<std::size_t>(((o * c.shape.in + i) * c.shape.kernel + ky) * c.shape.kernel + kx)];
    }
  return sum;
}

TEST(Conv2d, EqualsTheSumWrittenOut) {
  const std::vector<FloatCase> cases = {
      {{16, 24, 1, 1, 0}, {1, 5, 7}},         {{16, 24, 1, 2, 0}, {1, 5, 7}},  {{8, 17, 3, 1, 1}, {1, 9, 13}},
      {{8, 16, 3, 1, 1}, {3, 7, 7}, false},   {{3, 20, 7, 2, 3}, {1, 21, 30}}, {{8, 16, 3, 2, 1}, {2, 6, 9}},
      {{400, 19, 3, 1, 1}, {1, 4, 5}, false}, {{4, 16, 3, 1, 1}, {1, 1, 1}},   {{4, 16, 3, 1, 1}, {1, 1, 40}},
      {{4, 6, 3, 1, 2}, {1, 3, 3}},           {{1, 3, 5, 3, 2}, {2, 8, 11}},   {{8, 16, 3, 1, 2, 2}, {1, 7, 9}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const FloatCase& c = cases[i];
    const std::vector<float> x = random_values(c.grid.pixels() * c.shape.in, 1 + i),
                             w = random_values(c.shape.weights(), 100 + i),
                             bias = c.bias ? random_values(c.shape.out, 200 + i) : std::vector<float>();
    const Conv2d conv("conv", c.shape, w, bias);
    const MapGrid to = conv.output(c.grid);
    std::vector<float> first;
    for (const Isa isa : {Isa::kReference, best_isa()})
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        ExecContext context;
        context.kernels = &kernels::kernels_for(isa);
        context.pool = &pool;
        std::vector<float> y(static_cast<std::size_t>(to.pixels() * c.shape.out), -77.0f);
        conv.forward(context, x.data(), c.grid, y.data());
        if (first.empty()) first = y;
        ASSERT_EQ(y, first) << "case " << i << ", " << threads << " threads";
        std::vector<float> positive(y.size());
        conv.forward(context, x.data(), c.grid, positive.data(), kernels::Activation::kRelu);
        for (std::size_t k = 0; k < y.size(); ++k) ASSERT_EQ(positive[k], y[k] > 0.0f ? y[k] : 0.0f);
      }
    for (int image = 0; image < to.images; ++image)
      for (int y = 0; y < to.height; ++y)
        for (int z = 0; z < to.width; ++z)
          for (int o = 0; o < c.shape.out; ++o) {
            const double want =
                expected(c, x, w, {image, y, z, o}) + (c.bias ? bias[static_cast<std::size_t>(o)] : 0.0f);
            const auto at = static_cast<std::size_t>(((image * to.height + y) * to.width + z) * c.shape.out + o);
            ASSERT_NEAR(first[at], want, 1e-4) << "case " << i;
          }
  }
}

}  // namespace
}  // namespace igq
