// What an allocation promises: within the budget, never worse than the uniform setting.
#include "allocation/allocate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "igq/error.h"

namespace igq {
namespace {

/// Divergences that mostly fall with the number of groups, at another rate in each layer.
std::vector<SitePerturbation> made_up_groups(const std::vector<SiteShape>& shapes, const QuantizeOptions& options,
                                             std::uint64_t seed) {
  Random random(seed);
  std::vector<SitePerturbation> result;
  for (const SiteShape& shape : shapes) {
    if (!has_group_choice(shape, options)) continue;
    SitePerturbation& site = result.emplace_back();
    site.site = shape.name;
    const double size = std::exp(4.0 * random.normal()), rate = 0.5 + random.uniform();
    for (const int groups : kGroupCandidates)
      site.candidates.push_back({groups, size * std::pow(groups, -rate) * std::exp(0.2 * random.normal()), 0.0, -1.0});
  }
  return result;
}

TEST(Allocation, KeepsTheBudgetAndIsNeverWorseThanUniform) {
  for (const char* name : {"deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "deit_base_distilled_patch16_224"})
    for (const int average : {1, 2, 8, 12, 32}) {
      const std::vector<SiteShape> shapes = site_shapes(architecture_config(name));
      QuantizeOptions options;
      const auto perturbations = made_up_groups(shapes, options, 11 + static_cast<std::uint64_t>(average));
      const Allocation allocation = allocate_groups(shapes, options, perturbations, {average, 0.0});
      QuantizeOptions uniform = options;
      uniform.groups = average;
      EXPECT_EQ(allocation.budget, count_bops(shapes, uniform).total);
      EXPECT_LE(allocation.bops, allocation.budget) << name << ' ' << average;
      EXPECT_LE(allocation.divergence, allocation.uniform_divergence) << name << ' ' << average;
      options.site_groups = allocation.site_groups;
      EXPECT_EQ(count_bops(shapes, options).total, allocation.bops);
      EXPECT_EQ(allocation.sites.size(), perturbations.size());
    }
}

TEST(Allocation, ALargerBudgetIsNeverWorse) {
  const std::vector<SiteShape> shapes = site_shapes(architecture_config("deit_small_patch16_224"));
  const auto perturbations = made_up_groups(shapes, {}, 5);
  double last = INFINITY;
  for (double gbops = 76.5; gbops < 90.0; gbops += 1.5) {
    const Allocation allocation = allocate_groups(shapes, {}, perturbations, {8, gbops});
    EXPECT_LE(static_cast<double>(allocation.bops), gbops * 1e9);
    EXPECT_LE(allocation.divergence, last);
    last = allocation.divergence;
  }
}

TEST(Allocation, SaysTheLeastBudget) {
  const std::vector<SiteShape> shapes = site_shapes(architecture_config("deit_small_patch16_224"));
  const auto perturbations = made_up_groups(shapes, {}, 5);
  try {
    allocate_groups(shapes, {}, perturbations, {8, 50.0});
    FAIL();
  } catch (const Error& e) {
    const std::string text = e.what();
    try {  // the same before anything is measured
      check_budget(shapes, {}, {8, 50.0});
      ADD_FAILURE();
    } catch (const Error& before) {
      EXPECT_EQ(before.what(), text);
    }
    const auto at = text.find("--budget-gbops ");
    ASSERT_NE(at, std::string::npos) << text;
    const double least = std::stod(text.substr(at + 15));
    EXPECT_NO_THROW(allocate_groups(shapes, {}, perturbations, {8, least}));
    EXPECT_NO_THROW(check_budget(shapes, {}, {8, least}));
    EXPECT_NO_THROW(check_budget(shapes, {}, {8, 0.0}));
    EXPECT_THROW(check_budget(shapes, {}, {8, least - 0.002}), Error);
    EXPECT_THROW(allocate_groups(shapes, {}, perturbations, {8, least - 0.002}), Error);
  }
  EXPECT_THROW(allocate_groups(shapes, {}, {}, {8, 0.0}), Error);
  EXPECT_THROW(allocate_groups(shapes, {}, perturbations, {0, 0.0}), Error);
}

TEST(Allocation, GivesGroupsToTheLayerThatNeedsThem) {
  const std::vector<SiteShape> shapes = site_shapes(architecture_config("deit_tiny_patch16_224"));
  std::vector<SitePerturbation> perturbations = made_up_groups(shapes, {}, 5);
  for (SitePerturbation& site : perturbations)
    for (GroupCandidate& c : site.candidates)
      c.divergence = (site.site == "blocks.3.attn.qkv" ? 1000.0 : 1.0) / c.groups;
  const Allocation allocation = allocate_groups(shapes, {}, perturbations, {4, 0.0});
  EXPECT_EQ(allocation.site_groups.at("blocks.3.attn.qkv"), 32);
  const nlohmann::json report = allocation_to_json(allocation);
  EXPECT_EQ(report["sites"].size(), perturbations.size());
  EXPECT_EQ(report["sites"][0]["site"], "blocks.0.attn.qkv");
  EXPECT_LE(report["bops"].get<std::int64_t>(), report["budget"].get<std::int64_t>());
}

}  // namespace
}  // namespace igq
