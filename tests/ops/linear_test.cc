// Fully connected layers: integers and simulation against plain integers bit by bit, on every instruction set and
// thread count, and these against exact values within a bound derived from their roundings.
#include "ops/linear.h"

#include <gtest/gtest.h>

#include "tests/ops/linear_case.h"

namespace igq::test {
namespace {

std::vector<float> forward(const LinearCase& c, Execution execution, Isa isa, ThreadPool* pool) {
  Linear layer("layer", c.in, c.out, c.plan, c.bias);
  layer.set_site(0);
  const kernels::Kernels& kernels = kernels::kernels_for(isa);
  layer.prepare(execution, kernels);
  ExecContext context;
  context.kernels = &kernels;
  context.pool = pool;
  context.execution = execution;
  std::vector<float> y(static_cast<std::size_t>(c.rows) * static_cast<std::size_t>(c.out), -99.0F);
  layer.forward(context, c.x.data(), c.rows, y.data());
  return y;
}

ThreadPool& pool_of(int threads) {
  static ThreadPool two(2), three(3);
  return threads == 2 ? two : three;
}

void check(LinearCase c, std::uint64_t seed) {
  c.make(seed);
  SCOPED_TRACE(::testing::Message() << grouping_name(c.grouping) << " " << c.groups << " groups, w" << c.w_bits << "a"
                                    << c.a_bits << ", " << c.rows << "x" << c.in << "x" << c.out);
  const LinearResult want = expected(c);
  for (const Isa isa : supported_isas()) {
    const std::vector<float> got = forward(c, Execution::kInteger, isa, nullptr);
    ASSERT_EQ(got, want.y) << isa_name(isa);
  }
  for (const int threads : {2, 3})
    ASSERT_EQ(forward(c, Execution::kInteger, best_isa(), &pool_of(threads)), want.y) << threads;
  ASSERT_EQ(forward(c, Execution::kSimulate, best_isa(), nullptr), want.y);
  ASSERT_EQ(forward(c, Execution::kSimulate, Isa::kReference, &pool_of(3)), want.y);
  for (std::size_t i = 0; i < want.exact.size(); ++i)
    ASSERT_NEAR(want.y[i], want.exact[i], want.bound[i]) << "output " << i;
}

constexpr Grouping kGroupings[] = {Grouping::kLayer, Grouping::kStaticGroup, Grouping::kIgq, Grouping::kScale,
                                   Grouping::kUpperBound};

TEST(Linear, IntegersEqualPlainIntegersOnAllBits) {
  for (const Grouping grouping : kGroupings)
    for (int a_bits = 2; a_bits <= 8; ++a_bits)
      for (int w_bits = 2; w_bits <= 8; ++w_bits)
        check({.rows = 9,
               .in = 37,
               .out = 67,
               .grouping = grouping,
               .groups = 4,
               .a_bits = a_bits,
               .w_bits = w_bits,
               .x = {},
               .bias = {},
               .plan = {}},
              static_cast<std::uint64_t>(a_bits * 10 + w_bits));
}

TEST(Linear, AwkwardShapes) {
  struct Size {
    int rows, in, out;
  };
  for (const Grouping grouping : kGroupings)
    for (const Size s :
         {Size{1, 1, 1}, {1, 5, 3}, {2, 4, 64}, {3, 7, 65}, {7, 64, 128}, {8, 130, 1}, {33, 96, 31}, {65, 31, 129}})
      for (const int groups : {1, 3, 8, 40})  // 40: empty groups and groups of one channel
        check({.rows = s.rows,
               .in = s.in,
               .out = s.out,
               .grouping = grouping,
               .groups = groups,
               .a_bits = 8,
               .w_bits = 8,
               .weight_zero = groups != 3,
               .x = {},
               .bias = {},
               .plan = {}},
              static_cast<std::uint64_t>(s.rows * 1000 + groups));
}

TEST(Linear, SaturatingInputs) {
  for (const Grouping grouping : kGroupings)
    for (const Values values : {Values::kEnds, Values::kLargest})
      for (const int bits : {2, 4, 6, 8})
        check({.rows = 8,
               .in = 1030,
               .out = 33,
               .grouping = grouping,
               .groups = 8,
               .a_bits = bits,
               .w_bits = bits,
               .values = values,
               .x = {},
               .bias = {},
               .plan = {}},
              static_cast<std::uint64_t>(bits));
}

/// Weight groups do not follow the groups of the activations; the sums must not notice.
TEST(Linear, WeightGroups) {
  for (const Grouping grouping : kGroupings)
    for (int bits = 2; bits <= kMaxGroupedBits; ++bits)
      for (const auto& [in, size] : {std::pair{37, 8}, {130, 32}, {64, 64}, {5, 1}})
        for (const Values values : {Values::kRandom, Values::kEnds, Values::kLargest})
          check({.rows = 9,
                 .in = in,
                 .out = 67,
                 .grouping = grouping,
                 .groups = 4,
                 .a_bits = bits == 3 ? 8 : 4,
                 .w_bits = bits,
                 .values = values,
                 .weight_group = size,
                 .x = {},
                 .bias = {},
                 .plan = {}},
                static_cast<std::uint64_t>(bits * 100 + in));
}

TEST(Linear, LongestContraction) {
  for (const Grouping grouping : {Grouping::kLayer, Grouping::kIgq, Grouping::kScale})
    for (const Values values : {Values::kEnds, Values::kLargest})
      check({.rows = 2,
             .in = 16384,
             .out = 3,
             .grouping = grouping,
             .groups = 8,
             .a_bits = 8,
             .w_bits = 8,
             .values = values,
             .x = {},
             .bias = {},
             .plan = {}},
            5);
}

/// Scales that are multiples of one unit: products in one byte, channels counted several times, groups added up as
/// integers, and sums beyond 32 bits give the one exact sum, rounded once.
TEST(Linear, MultiplesOfAUnit) {
  const auto with = [](int rows, int in, int out, int a_bits, std::vector<std::int32_t> multiples, Values values,
                       bool weight_zero) {
    LinearCase c{.rows = rows,
                 .in = in,
                 .out = out,
                 .grouping = Grouping::kScale,
                 .groups = static_cast<int>(multiples.size()),
                 .a_bits = a_bits,
                 .w_bits = 8,
                 .values = values,
                 .multiples = std::move(multiples),
                 .weight_zero = weight_zero,
                 .x = {},
                 .bias = {},
                 .plan = {}};
    check(std::move(c), static_cast<std::uint64_t>(rows + in + out + a_bits));
  };
  for (const int rows : {1, 9, 35})
    for (const int in : {1, 37, 64, 130, 384})
      for (const bool weight_zero : {false, true}) {
        with(rows, in, 67, 4, {1, 2, 3, 5, 9, 17}, Values::kRandom, weight_zero);
        with(rows, in, 67, 4, {1, 20, 70, 255}, Values::kRandom, weight_zero);
        with(rows, in, 67, 8, {1, 2, 3, 5, 9, 17}, Values::kRandom, weight_zero);
        with(rows, in, 67, 8, {1, 2, 3, 5, 9, 16}, Values::kRandom, weight_zero);
        with(rows, in, 67, 6, {1, 3, 4, 8, 12, 64}, Values::kRandom, weight_zero);
        with(rows, in, 67, 4, {1, 8, 17, 34, 272}, Values::kRandom, weight_zero);
        with(rows, in, 130, 6, {3, 30, 200}, Values::kRandom, weight_zero);
        with(rows, in, 33, 8, {1}, Values::kRandom, weight_zero);
      }
  for (const Values values : {Values::kEnds, Values::kLargest})
    for (const int bits : {4, 6, 8}) {
      with(3, 1030, 33, bits, {1, 40, 255}, values, true);
      with(3, 4096, 33, bits, {16 * slot_multiple(bits)}, values, true);
      with(2, 16384, 3, bits, {255}, values, true);
    }
}

/// Channels far from zero, constant ones and ones wider than any group: no zero-point and no range is cut.
TEST(Linear, HostileChannelsAreNotClipped) {
  const std::vector<std::vector<std::int32_t>> all_multiples = {
      {}, {1, 2, 3}, {1, 16}, {1, 17, 34, 255}, {7, 100, 255}};
  for (const std::vector<std::int32_t>& multiples : all_multiples)
    for (const int bits : {2, 4, 8})
      for (const int in : {1, 37, 384, 2000})
        for (const Values values : {Values::kRandom, Values::kEnds})
          for (const bool weight_zero : {false, true}) {
            LinearCase c{.rows = 9,
                         .in = in,
                         .out = 67,
                         .grouping = Grouping::kScale,
                         .groups = 3,
                         .a_bits = bits,
                         .w_bits = 8,
                         .values = values,
                         .multiples = multiples,
                         .weight_zero = weight_zero,
                         .unclipped = true,
                         .x = {},
                         .bias = {},
                         .plan = {}};
            check(std::move(c), static_cast<std::uint64_t>(in + bits));
          }
}

/// One quantizer from the image's own range.
TEST(Linear, OneQuantizerFromTheImage) {
  for (const int rows : {1, 3, 35})
    for (const int bits : {2, 4, 7, 8})
      for (const int in : {1, 37, 384, 1100})
        for (const Values values : {Values::kRandom, Values::kEnds, Values::kLargest})
          for (const bool weight_zero : {false, true}) {
            LinearCase c{.rows = rows,
                         .in = in,
                         .out = 67,
                         .grouping = Grouping::kLayer,
                         .groups = 1,
                         .a_bits = bits,
                         .w_bits = 8,
                         .values = values,
                         .weight_zero = weight_zero,
                         .from_image = true,
                         .x = {},
                         .bias = {},
                         .plan = {}};
            check(std::move(c), static_cast<std::uint64_t>(rows + in + bits));
          }
}

/// Through forward_mlp the codes of the tensor in between come from panels, and threads share rows where there are
/// enough; they must be those of the whole tensor.
TEST(Linear, MlpEqualsItsTwoLayers) {
  for (const std::vector<std::int32_t>& multiples : {std::vector<std::int32_t>{}, {1, 2, 4}, {3, 8, 16}, {1, 30, 255}})
    for (const Grouping grouping : kGroupings)
      for (const int hidden : {1, 64, 70, 200})
        for (const int rows : {11, 100})
          for (const bool from_ranges : {false, true}) {
            if (!multiples.empty() && grouping != Grouping::kScale) continue;
            if (from_ranges && grouping != Grouping::kScale && grouping != Grouping::kLayer) continue;
            LinearCase first{.rows = rows,
                             .in = 24,
                             .out = hidden,
                             .grouping = Grouping::kIgq,
                             .groups = 3,
                             .a_bits = 8,
                             .w_bits = 8,
                             .x = {},
                             .bias = {},
                             .plan = {}};
            LinearCase second{.rows = rows,
                              .in = hidden,
                              .out = 40,
                              .grouping = grouping,
                              .groups = 3,
                              .a_bits = 6,
                              .w_bits = 5,
                              .multiples = multiples,
                              .unclipped = from_ranges && grouping == Grouping::kScale,
                              .from_image = from_ranges && grouping == Grouping::kLayer,
                              .x = {},
                              .bias = {},
                              .plan = {}};
            first.make(1);
            second.make(2);
            std::vector<float> want;
            for (const Isa isa : supported_isas()) {
              // Weights are packed for one instruction set; prepared again for another, layers gather them.
              Linear fc1("fc1", first.in, first.out, first.plan, first.bias),
                  fc2("fc2", second.in, second.out, second.plan, second.bias);
              fc1.set_site(0);
              fc2.set_site(1);
              for (const bool packed : {true, false})
                for (const int threads : {1, 2, 3}) {
                  if ((threads > 1 || !packed) && isa != best_isa()) continue;
                  SCOPED_TRACE(::testing::Message() << grouping_name(grouping) << ", " << hidden << " hidden, "
                                                    << isa_name(isa) << ", " << threads << (packed ? ", packed" : ""));
                  ExecContext context;
                  context.kernels = &kernels::kernels_for(isa);
                  context.execution = Execution::kInteger;
                  context.pool = threads == 1 ? nullptr : &pool_of(threads);
                  if (!packed && threads == 1) {
                    fc2.set_plan(second.plan);
                    fc2.prepare(Execution::kInteger, kernels::kernels_for(Isa::kReference));
                  }
                  fc1.prepare(Execution::kInteger, *context.kernels);
                  fc2.prepare(Execution::kInteger, *context.kernels);
                  const auto n = static_cast<std::size_t>(rows);
                  std::vector<float> inner(n * static_cast<std::size_t>(hidden)), y(n * 40), fused(n * 40);
                  fc1.forward(context, first.x.data(), rows, inner.data());
                  activate(context, kernels::Activation::kGelu, inner.data(), rows, hidden);
                  fc2.forward(context, inner.data(), rows, y.data());
                  fc1.forward_mlp(context, first.x.data(), rows, kernels::Activation::kGelu, fc2, nullptr, fused.data(),
                                  rows);  // adds to zeros
                  ASSERT_EQ(fused, y);
                  if (want.empty()) want = y;
                  ASSERT_EQ(y, want);
                }
            }
          }
}

}  // namespace
}  // namespace igq::test
