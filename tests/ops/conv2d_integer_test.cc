// Conv2d in integers: sums of codes written out in 64 bits, on every grouping, with channels far from zero and wider
// than calibration's, odd sizes, strides, padding and dilation; the same bits in simulation, on every instruction set
// and number of threads; zeros stay exactly zero.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "linear_case.h"
#include "ops/conv2d.h"

namespace igq {
namespace {

struct Case {
  ConvShape shape;
  MapGrid grid;
  Grouping grouping = Grouping::kScale;
  int groups = 1;
  int a_bits = 8, w_bits = 8;
  std::vector<std::int32_t> multiples = {};
  test::Values values = test::Values::kRandom;
  bool hostile = false;  ///< channels far from zero, constant, too wide for calibration's groups
};

/// A plan with a weight for every tap, and a map, both of LinearCase.
struct Made {
  std::vector<float> x, bias;
  std::shared_ptr<LinearPlan> plan;
};

Made make(const Case& c, std::uint64_t seed) {
  const int taps = c.shape.kernel * c.shape.kernel;
  const auto layer = [&c](int rows, int in) {
    test::LinearCase made{};
    made.rows = rows;
    made.in = in;
    made.out = c.shape.out;
    made.grouping = c.grouping;
    made.groups = c.groups;
    made.a_bits = c.a_bits;
    made.w_bits = c.w_bits;
    made.values = c.values;
    return made;
  };
  test::LinearCase map = layer(static_cast<int>(c.grid.pixels()), c.shape.in), weights = layer(1, taps * c.shape.in);
  map.multiples = c.multiples;
  map.unclipped = c.hostile;
  map.make(seed);
  map.plan->input.unclipped = c.grouping == Grouping::kScale;
  weights.make(seed + 1);
  map.plan->weight = std::move(weights.plan->weight);
  return {map.x, map.bias, map.plan};
}

/// The image's quantizers: its ranges with zero among the values where there are several taps.
ChannelQuantizers quantizers_of(const Case& c, const Made& made, Arena& arena) {
  const auto channels = static_cast<std::size_t>(c.shape.in);
  const int taps = c.shape.kernel * c.shape.kernel;
  std::vector<float> mn(channels, INFINITY), mx(channels, -INFINITY);
  for (std::size_t i = 0; i < made.x.size(); ++i) {
    mn[i % channels] = std::fmin(mn[i % channels], made.x[i]);
    mx[i % channels] = std::fmax(mx[i % channels], made.x[i]);
  }
  for (std::size_t i = 0; taps > 1 && i < channels; ++i) {
    mn[i] = std::fmin(mn[i], 0.0f);
    mx[i] = std::fmax(mx[i], 0.0f);
  }
  const kernels::Kernels& kernels = kernels::kernels_for(Isa::kReference);
  ChannelQuantizers q = take_quantizers(made.plan->input, c.shape.in, arena, taps);
  assign_channels(made.plan->input, kernels, q, 0, c.shape.in, mn.data(), mx.data());
  fit_image(made.plan->input, kernels, q, mn.data(), mx.data());
  return q;
}

/// One output, bit by bit as Linear defines it (ByteGemm in kernels/table.h).
float expected(const Case& c, const Made& made, const ChannelQuantizers& q, std::array<int, 4> at) {
  const auto [image, oy, ox, o] = at;
  const WeightPlan& w = made.plan->weight;
  const int middle = 1 << (w.bits - 1);
  const bool unit = has_unit(made.plan->input);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(q.groups)), codes(sums);
  std::int64_t total = 0, total_codes = 0;
  for (int ky = 0; ky < c.shape.kernel; ++ky)
    for (int kx = 0; kx < c.shape.kernel; ++kx) {
      const int y = oy * c.shape.stride + ky * c.shape.dilation - c.shape.padding,
                z = ox * c.shape.stride + kx * c.shape.dilation - c.shape.padding;
      if (y < 0 || z < 0 || y >= c.grid.height || z >= c.grid.width) continue;  // exactly zero
      for (int i = 0; i < c.shape.in; ++i) {
        const float value =
            made.x[static_cast<std::size_t>(((image * c.grid.height + y) * c.grid.width + z) * c.shape.in + i)];
        const UniformQuantizer u{q.scale[i], q.inv_scale[i], static_cast<int>(q.zero[i]), q.q_max};
        const std::int64_t a = quantize(value, u) - u.zero_point;
        const std::int64_t weight =
            w.codes[static_cast<std::size_t>(((ky * c.shape.kernel + kx) * c.shape.in + i) * c.shape.out + o)];
        const auto g = static_cast<std::size_t>(q.group[i]);
        sums[g] += a * weight;
        codes[g] += a;
        const std::int64_t multiple = q.multiples == nullptr ? 1 : q.multiples[q.group[i]];
        total += multiple * a * weight;
        total_codes += multiple * a;
      }
    }
  float v = 0.0f, row_sum = 0.0f;
  for (std::size_t g = 0; g < sums.size(); ++g) {
    v = std::fma(static_cast<float>(sums[g]), q.group_scale[g], v);
    row_sum = std::fma(static_cast<float>(codes[g]), q.group_scale[g], row_sum);
  }
  if (unit) {
    v = static_cast<float>(total) * *q.image_scale;
    row_sum = static_cast<float>(total_codes) * *q.image_scale;
  }
  const auto n = static_cast<std::size_t>(o);
  v = std::fma(-static_cast<float>(w.zero_point[n] - middle), row_sum, v);
  return std::fma(
      v, q.multiples == nullptr || made.plan->input.from_image ? w.scale[n] : w.scale[n] * made.plan->input.unit,
      made.bias[n]);
}

void check(const Case& c, std::size_t index) {
  SCOPED_TRACE("case " + std::to_string(index));
  const Made made = make(c, 40 + index);
  const std::vector<float> none(static_cast<std::size_t>(c.shape.weights()));
  Conv2d conv("conv", c.shape, none, made.bias);
  conv.set_site(0);
  conv.set_plan(made.plan);
  const MapGrid to = conv.output(c.grid);
  std::vector<float> first;
  for (const Isa isa : supported_isas())
    for (const Execution execution : {Execution::kInteger, Execution::kSimulate})
      for (const int threads : {1, 3}) {
        if (threads == 3 && execution == Execution::kSimulate) continue;
        if (isa != Isa::kReference && isa != best_isa() && execution == Execution::kSimulate) continue;
        ThreadPool pool(threads);
        ExecContext context;
        context.kernels = &kernels::kernels_for(isa);
        context.pool = &pool;
        context.execution = execution;
        conv.prepare(execution, *context.kernels);
        std::vector<float> y(static_cast<std::size_t>(to.pixels() * c.shape.out), -77.0f);
        conv.forward(context, made.x.data(), c.grid, y.data());
        if (first.empty()) first = y;
        ASSERT_EQ(y, first) << isa_name(isa) << ' ' << execution_name(execution) << ' ' << threads << " threads";
        std::vector<float> positive(y.size());
        conv.forward(context, made.x.data(), c.grid, positive.data(), kernels::Activation::kRelu);
        for (std::size_t k = 0; k < y.size(); ++k) ASSERT_EQ(positive[k], y[k] > 0.0f ? y[k] : 0.0f);
      }
  Arena arena;
  const ChannelQuantizers q = quantizers_of(c, made, arena);
  std::size_t k = 0;
  for (int image = 0; image < to.images; ++image)
    for (int y = 0; y < to.height; ++y)
      for (int z = 0; z < to.width; ++z)
        for (int o = 0; o < c.shape.out; ++o)
          ASSERT_EQ(first[k++], expected(c, made, q, {image, y, z, o})) << image << ' ' << y << ' ' << z << ' ' << o;
}

TEST(Conv2dInteger, EqualsSumsIn64Bits) {
  const std::vector<std::int32_t> bytes = {1, 2, 5, 17}, wide = {1, 3, 4, 8, 12}, odd = {1, 7, 30, 255},
                                  eight = {1, 2, 3, 6};
  const std::vector<Case> cases = {
      {{16, 24, 1, 1, 0}, {1, 5, 7}, Grouping::kScale, 4, 8, 8, eight},
      {{8, 70, 3, 1, 1}, {1, 9, 13}, Grouping::kScale, 4, 8, 8, eight},
      {{8, 70, 3, 1, 1}, {1, 9, 13}, Grouping::kScale, 4, 8, 8, eight, test::Values::kRandom, true},
      {{13, 16, 3, 1, 1}, {3, 7, 7}, Grouping::kScale, 4, 4, 4, bytes, test::Values::kRandom, true},
      {{13, 16, 3, 2, 1}, {2, 6, 9}, Grouping::kScale, 5, 6, 6, wide, test::Values::kEnds, true},
      {{13, 16, 3, 1, 1}, {1, 6, 9}, Grouping::kScale, 4, 6, 6, odd},
      {{3, 20, 7, 2, 3}, {1, 21, 30}, Grouping::kLayer, 1},
      {{8, 16, 3, 2, 1}, {2, 6, 9}, Grouping::kStaticGroup, 3, 6, 6},
      {{20, 19, 3, 1, 1}, {1, 14, 15}, Grouping::kIgq, 6, 8, 8},
      {{20, 19, 3, 1, 1}, {1, 4, 5}, Grouping::kIgq, 6, 4, 4, {}, test::Values::kEnds},
      {{4, 16, 3, 1, 1}, {1, 1, 1}, Grouping::kIgq, 2},
      {{4, 16, 3, 1, 1}, {1, 1, 40}, Grouping::kUpperBound, 1},
      {{4, 6, 3, 1, 2}, {1, 3, 3}, Grouping::kScale, 3},
      {{1, 3, 5, 3, 2}, {2, 8, 11}, Grouping::kScale, 4, 8, 8, eight},
      {{8, 16, 3, 1, 2, 2}, {1, 7, 9}, Grouping::kScale, 4, 8, 8, eight},
      {{520, 5, 3, 1, 1}, {1, 3, 4}, Grouping::kScale, 4, 8, 8, eight, test::Values::kLargest},
      {{64, 64, 3, 1, 1}, {1, 20, 21}, Grouping::kScale, 4, 8, 8, eight},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) check(cases[i], i);
}

TEST(Conv2dInteger, ZeroStaysZero) {
  // A map of a constant, padded: pixels whose patch lies inside and outputs of a map of zeros are what the weights say.
  const Case c{{8, 16, 3, 1, 1}, {1, 4, 4}, Grouping::kScale, 4, 4, 8, {1, 2, 5, 17}};
  Made made = make(c, 5);
  std::fill(made.x.begin(), made.x.end(), 0.0f);
  const std::vector<float> none(static_cast<std::size_t>(c.shape.weights()));
  Conv2d conv("conv", c.shape, none, made.bias);
  conv.set_site(0);
  conv.set_plan(made.plan);
  ExecContext context;
  context.kernels = &kernels::kernels_for(best_isa());
  context.execution = Execution::kInteger;
  conv.prepare(Execution::kInteger, *context.kernels);
  std::vector<float> y(static_cast<std::size_t>(c.grid.pixels() * c.shape.out));
  conv.forward(context, made.x.data(), c.grid, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], made.bias[i % made.bias.size()]);
}

}  // namespace
}  // namespace igq
