// Bits per layer: within both budgets, never worse than the same bits everywhere, the best there is on small networks,
// and what is measured on a tiny model.
#include "allocation/allocate_bits.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "igq/error.h"
#include "models/load_model.h"
#include "tests/test_util.h"

namespace igq {
namespace {

SitePerturbation made_up(const std::string& site, double size, Random& random) {
  SitePerturbation p{site, {}};
  for (const int bits : kBitCandidates)
    p.candidates.push_back({8, size * std::exp2(-2.0 * bits) * std::exp(0.3 * random.normal()), 0.0, -1.0, bits});
  return p;
}

Perturbations made_up(const std::vector<SiteShape>& shapes, const QuantizeOptions& options, std::uint64_t seed) {
  Random random(seed);
  Perturbations all;
  for (const SiteShape& shape : shapes) {
    if (!has_bit_choice(shape, options)) continue;
    all.sites.push_back(made_up(shape.name, std::exp(3.0 * random.normal()), random));
    if (!shape.attention) all.weights.push_back(made_up(shape.name, std::exp(3.0 * random.normal()), random));
  }
  return all;
}

TEST(BitAllocation, KeepsBothBudgetsAndIsNeverWorseThanUniform) {
  for (const char* name : {"deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"})
    for (const double bits : {2.0, 3.0, 3.5, 4.0, 6.0, 8.0}) {
      const std::vector<SiteShape> shapes = site_shapes(architecture_config(name));
      const QuantizeOptions options = preset_options(Preset::kBest);
      const Perturbations measured = made_up(shapes, options, 5);
      const BitAllocation a = allocate_bits(shapes, options, measured, {bits, bits, 0});
      EXPECT_LE(a.weight_size, a.weight_budget) << name << bits;
      EXPECT_LE(a.bops, a.bops_budget) << name << bits;
      if (bits == std::floor(bits)) {
        EXPECT_LE(a.divergence, a.uniform_divergence + 1e-12) << name << bits;
      }
      // The plan's own cost, counted site by site.
      QuantizeOptions chosen = options;
      chosen.allocated_bits = a.site_bits;
      std::int64_t size = 0;
      for (const SiteShape& shape : shapes)
        if (has_bit_choice(shape, options) && !shape.attention)
          size += weight_size(shape, site_setting(shape, chosen).weight_bits, options.weight_groups);
      EXPECT_EQ(size, a.weight_size) << name << bits;
      for (const SiteBitChoice& s : a.sites) EXPECT_EQ(a.site_bits.at(s.site).second, s.activation_bits) << s.site;
    }
}

TEST(BitAllocation, IsTheBestThereIs) {
  std::vector<SiteShape> shapes;
  for (int i = 0; i < 4; ++i) {
    SiteShape& s = shapes.emplace_back();
    s.name = "blocks." + std::to_string(i) + ".mlp.fc1";
    s.rows = 10;
    s.in = 16 + 8 * i;
    s.out = 32;
  }
  QuantizeOptions options;
  options.weight_groups = 0;
  const Perturbations measured = made_up(shapes, options, 9);
  const double bits = 3.7;
  const BitAllocation a = allocate_bits(shapes, options, measured, {bits, 8.0, 0});
  double best = INFINITY;
  std::vector<std::size_t> at(4, 0);
  for (int code = 0; code < 625; ++code) {
    double cost = 0.0;
    std::int64_t size = 0;
    for (std::size_t k = 0, rest = static_cast<std::size_t>(code); k < 4; ++k, rest /= 5) {
      const GroupCandidate& c = measured.weights[k].candidates[rest % 5];
      cost += c.divergence;
      size += weight_size(shapes[k], c.bits, 0);
    }
    if (size <= a.weight_budget) best = std::min(best, cost);
  }
  double activations = 0.0;  // all at 8 bits
  for (const SitePerturbation& p : measured.sites) activations += p.candidates.back().divergence;
  EXPECT_EQ(a.gap, 0.0);
  EXPECT_NEAR(a.divergence, best + activations, 1e-12 * a.divergence);
  EXPECT_THROW(allocate_bits(shapes, options, measured, {4.0, 4.0, 100}), Error) << "too few bytes";
  EXPECT_THROW(allocate_bits(shapes, options, measured, {NAN, 4.0, 0}), Error);
}

TEST(BitAllocation, SitesWithBitsOfTheirOwnAreNoChoice) {
  const std::vector<SiteShape> shapes = site_shapes(architecture_config("deit_tiny_patch16_224"));
  QuantizeOptions options = preset_options(Preset::kBest);
  options.site_bits = {{"blocks\\.0\\.", {8, 8}}};
  options.keep = "blocks\\.1\\.mlp";
  int choices = 0;
  for (const SiteShape& shape : shapes) {
    const bool choice = has_bit_choice(shape, options);
    choices += choice ? 1 : 0;
    if (shape.name.starts_with("blocks.0.") || shape.name.starts_with("blocks.1.mlp") || shape.first_or_last) {
      EXPECT_FALSE(choice) << shape.name;
    }
  }
  EXPECT_EQ(choices, 11 * 5 - 2);
}

TEST(BitAllocation, MoreBitsAreMeasuredAsNearer) {
  LoadedModel loaded = load_model(test::fixtures() / "models" / "vit_token");
  Runner runner(*loaded.model, Execution::kFloat, best_isa(), 2);
  const std::int64_t floats = loaded.model->image_floats();
  const auto load = [floats](std::int64_t i, float* image) {
    Random random(17 + static_cast<std::uint64_t>(i));
    for (std::int64_t p = 0; p < floats; ++p) image[p] = static_cast<float>(random.normal());
  };
  const Statistics statistics = collect_statistics(runner, 4, 0, load);
  PerturbationOptions options;
  options.activation_bits = options.weight_bits = kBitCandidates;
  QuantizeOptions quantize = preset_options(Preset::kBest);
  for (const bool all : {false, true}) {
    if (all) options.anchors.clear();
    const Perturbations measured = measure_perturbations(runner, statistics, quantize, 4, load, options);
    EXPECT_EQ(measured.sites.size(), 2u * 5u);
    EXPECT_EQ(measured.weights.size(), 2u * 4u);
    for (const auto* list : {&measured.sites, &measured.weights})
      for (const SitePerturbation& site : *list) {
        ASSERT_EQ(site.candidates.size(), kBitCandidates.size());
        EXPECT_LT(site.candidates.back().divergence, site.candidates.front().divergence) << site.site;
        for (std::size_t i = 0; i < site.candidates.size(); ++i) {
          EXPECT_EQ(site.candidates[i].bits, kBitCandidates[i]);
          EXPECT_TRUE(std::isfinite(site.candidates[i].divergence));
          if (all) {
            EXPECT_GE(site.candidates[i].measured, 0.0);
          }
        }
      }
  }
}

}  // namespace
}  // namespace igq
