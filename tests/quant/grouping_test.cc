// Groups of channels and softmax rows (docs/method.md, sections 3, 4, 8): codes equal to numpy's on every instruction
// set that runs here, and the order of slots for the byte product.
#include "quant/grouping.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <set>

#include "kernels/table.h"
#include "tests/quant/fixture_cases.h"

namespace igq {
namespace {

ActivationPlan plan_of(const nlohmann::json& c) {
  ActivationPlan plan;
  plan.grouping = parse_grouping(c["grouping"].get<std::string>());
  plan.bits = c["bits"];
  plan.groups = test::bounds_list(c["groups"]);
  return plan;
}

struct ChannelRanges {
  std::vector<float> mn, mx;
};

/// As min() and max() of numpy where there is no NaN; the cases with NaN have fixed bounds.
ChannelRanges ranges_of(const std::vector<float>& x, int channels) {
  ChannelRanges r{std::vector<float>(static_cast<std::size_t>(channels), std::numeric_limits<float>::infinity()),
                  std::vector<float>(static_cast<std::size_t>(channels), -std::numeric_limits<float>::infinity())};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % static_cast<std::size_t>(channels);
    r.mn[c] = std::min(r.mn[c], x[i]);
    r.mx[c] = std::max(r.mx[c], x[i]);
  }
  return r;
}

TEST(ChannelGroups, EqualNumpy) {
  for (const auto& c : test::quant_cases("channels")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const ActivationPlan plan = plan_of(c);
    const int rows = static_cast<int>(c["x"].size()), channels = static_cast<int>(c["x"][0].size());
    const std::vector<float> x = test::numbers(c["x"]);
    const ChannelRanges r = ranges_of(x, channels);
    Arena arena;
    const ArenaScope scope(arena);
    const ChannelQuantizers q =
        assign_channels(plan, kernels::kernels_for(best_isa()), channels, r.mn.data(), r.mx.data(), arena);
    const std::vector<float> scale = test::numbers(c["scale"]);
    const std::vector<int> group = test::integers(c["group"]), zero = test::integers(c["zero_point"]);
    const std::vector<int> codes = test::integers(c["codes"]);
    for (int i = 0; i < channels; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(q.group[i], group[at]) << "channel " << i;
      EXPECT_EQ(q.scale[i], scale[at]) << "channel " << i;
      EXPECT_EQ(q.zero[i], static_cast<float>(zero[at])) << "channel " << i;
      EXPECT_EQ(q.group_scale[q.group[i]], q.scale[i]);
    }
    for (const Isa isa : supported_isas()) {
      const kernels::Kernels& k = kernels::kernels_for(isa);
      std::vector<std::uint8_t> got(x.size());
      k.quantize_channels({x.data(), channels, rows, channels}, {q.inv_scale, q.zero, q.q_max}, got.data(), channels);
      for (std::size_t i = 0; i < x.size(); ++i)
        EXPECT_EQ(static_cast<int>(got[i]), codes[i]) << isa_name(isa) << " value " << i;
      std::vector<float> hat = x;
      k.fake_quantize_channels({hat.data(), channels, rows, channels}, q.scale, {q.inv_scale, q.zero, q.q_max});
      for (std::size_t i = 0; i < x.size(); ++i) {
        const int channel = static_cast<int>(i) % channels;
        EXPECT_EQ(hat[i], (static_cast<float>(codes[i]) - q.zero[channel]) * q.scale[channel])
            << isa_name(isa) << " value " << i;
      }
    }
  }
}

TEST(ChannelGroups, SlotsHoldEveryChannelOnceGroupByGroup) {
  for (const auto& c : test::quant_cases("channels")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const ActivationPlan plan = plan_of(c);
    const int channels = static_cast<int>(c["x"][0].size());
    const ChannelRanges r = ranges_of(test::numbers(c["x"]), channels);
    Arena arena;
    const ArenaScope scope(arena);
    ChannelQuantizers q =
        assign_channels(plan, kernels::kernels_for(best_isa()), channels, r.mn.data(), r.mx.data(), arena);
    order_slots(q, kernels::kGroupAlign, arena);
    std::multiset<int> seen;
    int begin = 0;
    for (int g = 0; g < q.groups; ++g) {
      ASSERT_EQ(q.group_end[g] % kernels::kGroupAlign, 0);
      int last = -1;
      for (int s = begin; s < q.group_end[g]; ++s) {
        const int channel = q.order[s];
        if (channel < 0) {
          EXPECT_EQ(q.slot_zero[s], 0);
          continue;
        }
        EXPECT_EQ(q.group[channel], g);
        EXPECT_GT(channel, last);
        EXPECT_EQ(static_cast<float>(q.slot_zero[s]), q.zero[channel]);
        last = channel;
        seen.insert(channel);
      }
      begin = q.group_end[g];
    }
    EXPECT_EQ(begin, q.slots);
    ASSERT_EQ(seen.size(), static_cast<std::size_t>(channels));
    int expected = 0;
    for (const int channel : seen) EXPECT_EQ(channel, expected++);
  }
}

TEST(SoftmaxRows, EqualNumpy) {
  for (const auto& c : test::quant_cases("softmax")) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const ActivationPlan plan = plan_of(c);
    const int rows = static_cast<int>(c["p"].size()), cols = static_cast<int>(c["p"][0].size());
    const std::vector<float> p = test::numbers(c["p"]), expected = test::numbers(c["scale"]);
    const std::vector<int> codes = test::integers(c["codes"]);
    std::vector<float> row_max(static_cast<std::size_t>(rows)), scale(row_max.size()), inv_scale(row_max.size()),
        zero(row_max.size());
    for (std::size_t r = 0; r < row_max.size(); ++r)
      row_max[r] = *std::max_element(p.begin() + static_cast<std::ptrdiff_t>(r) * cols,
                                     p.begin() + static_cast<std::ptrdiff_t>(r + 1) * cols);
    assign_rows(plan, rows, row_max.data(), scale.data(), inv_scale.data());
    EXPECT_EQ(scale, expected);
    for (const Isa isa : supported_isas()) {
      std::vector<std::uint8_t> got(p.size());
      kernels::kernels_for(isa).quantize_rows({p.data(), cols, rows, cols},
                                              {inv_scale.data(), zero.data(), code_max(plan.bits)}, got.data(), cols);
      for (std::size_t i = 0; i < p.size(); ++i)
        EXPECT_EQ(static_cast<int>(got[i]), codes[i]) << isa_name(isa) << " value " << i;
    }
  }
}

}  // namespace
}  // namespace igq
