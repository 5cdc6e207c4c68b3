// Bit operations against hand-made sums and the paper's overhead.
#include "allocation/bops.h"

#include <gtest/gtest.h>

namespace igq {
namespace {

SiteShape fc(std::int64_t rows, std::int64_t in, std::int64_t out) {
  SiteShape shape;
  shape.name = "blocks.0.mlp.fc1";
  shape.rows = rows;
  shape.in = in;
  shape.out = out;
  return shape;
}

SiteShape attention(std::int64_t windows, std::int64_t heads, std::int64_t tokens, std::int64_t head_dim) {
  SiteShape shape;
  shape.name = "blocks.0.attn";
  shape.attention = true;
  shape.windows = windows;
  shape.heads = heads;
  shape.tokens = shape.keys = tokens;
  shape.head_dim = head_dim;
  return shape;
}

QuantizeOptions w4a4(int groups) {
  QuantizeOptions options;
  options.groups = groups;
  return options;
}

TEST(Bops, SixteenGroupsCostThePapersOverhead) {
  const auto shapes = site_shapes(architecture_config("deit_base_patch16_224"));
  const BopsTable table = count_bops(shapes, w4a4(16));
  EXPECT_NEAR(table.overhead_percent(), 3.3, 0.2);
  EXPECT_EQ(table.float_total, count_macs(architecture_config("deit_base_patch16_224")) * 1024);
  EXPECT_DOUBLE_EQ(count_bops(shapes, w4a4(1)).overhead_percent(), 0.0);
}

TEST(Bops, OfAnFcLayer) {
  const SiteShape shape = fc(5, 7, 11);
  SiteSetting setting{3, 4, Grouping::kIgq, 2};
  const SiteBops bops = site_bops(shape, setting);
  EXPECT_EQ(bops.products, 5 * 7 * 11 * 3 * 4);
  EXPECT_EQ(bops.additions, 32 * 2 * 5 * 11);
  EXPECT_EQ(bops.grouping, 32 * (2 * 5 * 7 + 6 * 7 * 2));
  setting.grouping = Grouping::kStaticGroup;  // the map is fixed
  EXPECT_EQ(site_bops(shape, setting).grouping, 0);
  EXPECT_EQ(site_bops(shape, setting).additions, bops.additions);
  setting.groups = 1;
  EXPECT_EQ(site_bops(shape, setting).total(), bops.products);
}

TEST(Bops, OfAnAttentionHaveNoPartialSums) {
  const SiteShape shape = attention(4, 3, 7, 5);
  const SiteBops bops = site_bops(shape, {4, 6, Grouping::kIgq, 8});
  EXPECT_EQ(bops.products, 4 * 3 * 7 * 7 * 5 * (4 * 4 + 6 * 4));
  EXPECT_EQ(bops.additions, 0);
  EXPECT_EQ(bops.grouping, 32 * 4 * 3 * (7 * 7 + 3 * 7 * 8));
  SiteShape pooling = attention(1, 3, 1, 5);  // one query of nine tokens
  pooling.keys = 9;
  EXPECT_EQ(pooling.macs(), 2 * 3 * 9 * 5);
  EXPECT_EQ(site_bops(pooling, {4, 6, Grouping::kUpperBound, 1}).products, 3 * 9 * 5 * (4 * 4 + 6 * 4));
}

TEST(Bops, SettingsFollowTheOptionsAsThePlanDoes) {
  QuantizeOptions options = w4a4(16);
  EXPECT_EQ(site_setting(fc(5, 7, 11), options).groups, 7);  // no more groups than channels
  options.site_groups["blocks.0.mlp.fc1"] = 3;
  EXPECT_EQ(site_setting(fc(5, 7, 11), options).groups, 3);
  EXPECT_EQ(site_setting(attention(1, 1, 40, 8), options).groups, 16);
  EXPECT_FALSE(has_group_choice(fc(1, 7, 11), options));
  EXPECT_TRUE(has_group_choice(fc(2, 7, 11), options));
  SiteShape first = fc(5, 7, 11);
  first.first_or_last = true;
  EXPECT_FALSE(has_group_choice(first, options));
  EXPECT_EQ(site_setting(first, options).weight_bits, 8);
  EXPECT_EQ(site_setting(first, options).groups, 1);
  options.grouping = Grouping::kScale;
  EXPECT_TRUE(has_group_choice(fc(5, 7, 11), options));
  options.integer_ratios = true;  // 17 multiples of one width
  EXPECT_FALSE(has_group_choice(fc(5, 7, 11), options));
  EXPECT_EQ(site_setting(fc(5, 7, 11), options).groups, 17);
  EXPECT_TRUE(has_group_choice(attention(1, 1, 40, 8), options));
  options.grouping = Grouping::kLayer;
  EXPECT_FALSE(has_group_choice(fc(5, 7, 11), options));
  options.grouping = Grouping::kUpperBound;
  EXPECT_EQ(site_setting(fc(5, 7, 11), options).groups, 7);
  options.keep = "fc1";
  EXPECT_EQ(site_bops(fc(5, 7, 11), site_setting(fc(5, 7, 11), options)).total(), 5 * 7 * 11 * 1024);
}

TEST(Bops, GrowWithTheNumberOfGroups) {
  const auto shapes = site_shapes(architecture_config("swin_tiny_patch4_window7_224"));
  std::int64_t last = 0;
  for (const int groups : {1, 2, 4, 6, 8, 10, 12, 16, 24, 32}) {
    const BopsTable table = count_bops(shapes, w4a4(groups));
    EXPECT_GT(table.total, last);
    last = table.total;
  }
}

}  // namespace
}  // namespace igq
