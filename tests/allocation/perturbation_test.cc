// Perturbations on tiny models: runs of the rest of the network against whole runs, resuming, the error estimate; and
// the allocation that follows.
#include "allocation/perturbation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "allocation/allocate.h"
#include "allocation/site_error.h"
#include "base/file.h"
#include "base/output_file.h"
#include "base/random.h"
#include "igq/error.h"
#include "models/load_model.h"
#include "quant/grouping.h"
#include "tests/test_util.h"

namespace igq {
namespace {

constexpr int kImages = 5;

/// A tiny model of tests/fixtures/models with random images.
struct Tiny {
  explicit Tiny(const std::string& name, int threads = 1)
      : loaded(load_model(test::fixtures() / "models" / name)),
        runner(*loaded.model, Execution::kFloat, best_isa(), threads),
        statistics(collect_statistics(runner, kImages, 0, load())) {}

  std::function<void(std::int64_t, float*)> load() const {
    const std::int64_t floats = loaded.model->image_floats();
    return [floats](std::int64_t i, float* image) {
      Random random(17 + static_cast<std::uint64_t>(i));
      for (std::int64_t p = 0; p < floats; ++p) image[p] = static_cast<float>(random.normal());
    };
  }
  Perturbations measure(const PerturbationOptions& options, const QuantizeOptions& quantize = {},
                        const std::function<void(const PerturbationProgress&)>& progress = {}) {
    return measure_perturbations(runner, statistics, quantize, kImages, load(), options, progress);
  }

  LoadedModel loaded;
  Runner runner;
  Statistics statistics;
};

PerturbationOptions some(std::vector<int> anchors = {}) {
  PerturbationOptions options;
  options.candidates = {1, 2, 4, 8, 16};
  options.anchors = std::move(anchors);
  options.model_checksum = "xxh3:tiny";
  return options;
}

/// Psi from whole passes of the model with a plan for one layer.
double whole_runs(Tiny& tiny, const std::string& site_name, int groups) {
  Model& model = *tiny.loaded.model;
  const int id = model.find_site(site_name);
  const Site& site = model.sites()[static_cast<std::size_t>(id)];
  auto plan = std::make_shared<QuantizationPlan>();
  if (site.linear != nullptr) {
    plan->linears[site_name].input = plan_input(site, tiny.statistics.linear(id), {}, groups);
  } else {
    plan->attentions[site_name].softmax = plan_attention(site, tiny.statistics.attention(id), {}, groups).softmax;
  }
  AlignedBuffer<float> image(static_cast<std::size_t>(model.image_floats()));
  std::vector<std::vector<float>> logits[2];
  for (const bool quantized : {false, true}) {
    model.set_plan(quantized ? plan : nullptr);
    Runner runner(model, quantized ? Execution::kSimulate : Execution::kFloat, best_isa(), 1);
    for (int i = 0; i < kImages; ++i) {
      tiny.load()(i, image.data());
      const std::span<const float> result = runner.run(image.data());
      logits[quantized].emplace_back(result.begin(), result.end());
    }
  }
  model.set_plan(nullptr);
  double sum = 0.0;
  for (int i = 0; i < kImages; ++i) {
    const auto &p = logits[0][static_cast<std::size_t>(i)], &q = logits[1][static_cast<std::size_t>(i)];
    sum += divergence_of_logits(p.data(), q.data(), p.size());
  }
  return sum / kImages;
}

class PerturbationOf : public testing::TestWithParam<const char*> {};

TEST_P(PerturbationOf, IsThatOfWholeRunsBitForBit) {
  Tiny tiny(GetParam());
  const Perturbations result = tiny.measure(some());
  ASSERT_GE(result.sites.size(), 10u);
  EXPECT_GT(result.bytes, 0u);
  for (const SitePerturbation& site : result.sites)
    for (const GroupCandidate& c : site.candidates) {
      EXPECT_EQ(c.measured, whole_runs(tiny, site.site, c.groups)) << site.site << ' ' << c.groups;
      EXPECT_EQ(c.divergence, c.measured);
    }
}

TEST_P(PerturbationOf, DoesNotDependOnThreads) {
  const Perturbations one = Tiny(GetParam(), 1).measure(some({4})), three = Tiny(GetParam(), 3).measure(some({4}));
  EXPECT_EQ(one.sites, three.sites);
}

INSTANTIATE_TEST_SUITE_P(Models, PerturbationOf, testing::Values("vit_token", "swin_pad"),
                         [](const auto& model) { return std::string(model.param); });

TEST(Perturbation, HasEveryLayerWithAChoice) {
  Tiny tiny("vit_token");
  const Perturbations result = tiny.measure(some());
  std::vector<std::string> names;
  for (const SitePerturbation& site : result.sites) names.push_back(site.site);
  const std::vector<std::string> expected = {
      "blocks.0.attn.qkv", "blocks.0.attn", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2",
      "blocks.1.attn.qkv", "blocks.1.attn", "blocks.1.attn.proj", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2"};
  EXPECT_EQ(names, expected);
  for (const SitePerturbation& site : result.sites)
    EXPECT_GT(site.candidates.front().divergence, site.candidates.back().divergence) << site.site;
}

TEST(Perturbation, InterruptedGoesOnWhereItWas) {
  const test::TemporaryFolder folder;
  const Perturbations whole = Tiny("vit_token").measure(some({4}));
  PerturbationOptions options = some({4});
  options.cache = folder.path() / "cache.jsonl";
  struct Killed {};
  const auto kill_after = [](int layers) {
    return [layers](const PerturbationProgress& p) {
      if (p.done == layers) throw Killed();
    };
  };
  EXPECT_THROW(Tiny("vit_token").measure(options, {}, kill_after(3)), Killed);
  EXPECT_THROW(Tiny("vit_token").measure(options, {}, kill_after(2)), Killed);
  {  // and a line that was cut off in the middle
    std::string text = read_file(options.cache);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
    text.resize(text.size() - 20);
    write_file(options.cache, text);
  }
  std::vector<double> fractions;
  const auto remember = [&](const PerturbationProgress& p) { fractions.push_back(p.fraction); };
  const Perturbations resumed = Tiny("vit_token").measure(options, {}, remember);
  EXPECT_EQ(resumed.sites, whole.sites);
  EXPECT_EQ(resumed.from_cache, 4);
  EXPECT_EQ(fractions.size(), 6u);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_DOUBLE_EQ(fractions.back(), 1.0);
  const Perturbations cached = Tiny("vit_token").measure(options);
  EXPECT_EQ(cached.sites, whole.sites);
  EXPECT_EQ(cached.from_cache, 10);
}

TEST(Perturbation, TheCacheKnowsWhatItBelongsTo) {
  const test::TemporaryFolder folder;
  PerturbationOptions options = some({4});
  options.cache = folder.path() / "cache.jsonl";
  Tiny tiny("vit_token");
  tiny.measure(options);
  QuantizeOptions quantize;
  quantize.activation_bits = 6;
  const Perturbations six = tiny.measure(options, quantize);
  EXPECT_EQ(six.from_cache, 0);
  EXPECT_EQ(tiny.measure(options, quantize).sites, six.sites);
  quantize.site_bits = {{"mlp", {4, 4}}};  // only these layers are other ones than before
  EXPECT_EQ(tiny.measure(options, quantize).from_cache, 10);
  PerturbationOptions other = options;
  other.model_checksum = "xxh3:other";
  EXPECT_EQ(tiny.measure(other).from_cache, 0);
  other = options;
  other.anchors = {};
  EXPECT_EQ(tiny.measure(other).from_cache, 0);
  const auto shifted = [&](std::int64_t i, float* image) { tiny.load()(i + 1, image); };
  EXPECT_EQ(measure_perturbations(tiny.runner, tiny.statistics, {}, kImages, shifted, options).from_cache, 0);
  const Statistics others = collect_statistics(tiny.runner, 2, 0, tiny.load());  // other quantizers, the same images
  EXPECT_EQ(measure_perturbations(tiny.runner, others, {}, kImages, tiny.load(), options).from_cache, 0);
}

TEST(Perturbation, DamagedLinesAreMeasuredAgain) {
  const test::TemporaryFolder folder;
  PerturbationOptions options = some({4});
  options.cache = folder.path() / "cache.jsonl";
  Tiny tiny("vit_token");
  const Perturbations whole = tiny.measure(options);
  std::istringstream lines(read_file(options.cache));
  std::string text, line;
  for (int n = 0; std::getline(lines, line); ++n) {
    if (n == 1) line = "{\"key\": 7}";
    if (n == 2) line.replace(line.find("\"groups\":") + 9, 1, "-");
    if (n == 3) line = "\x01\x02 not JSON";
    if (n == 4) line.replace(line.find("\"error\":") + 8, 1, "1e999,\"x\":");
    text += line + "\n";
  }
  write_file(options.cache, text);
  const Perturbations again = tiny.measure(options);
  EXPECT_EQ(again.from_cache, 6);
  EXPECT_EQ(again.sites, whole.sites);
  options.cache = folder.path() / "missing" / "cache.jsonl";
  EXPECT_THROW(tiny.measure(options), Error);
}

TEST(Perturbation, RefusesNonsense) {
  Tiny tiny("vit_token");
  EXPECT_THROW(measure_perturbations(tiny.runner, tiny.statistics, {}, 0, tiny.load()), Error);
  PerturbationOptions none = some();
  none.candidates.clear();
  EXPECT_THROW(tiny.measure(none), Error);
}

TEST(Perturbation, AnchorsAloneAreRun) {
  Tiny tiny("vit_token");
  const Perturbations all = tiny.measure(some()), anchored = tiny.measure(some({1, 7}));
  ASSERT_EQ(all.sites.size(), anchored.sites.size());
  for (std::size_t s = 0; s < all.sites.size(); ++s)
    for (std::size_t i = 0; i < 5; ++i) {
      const GroupCandidate &exact = all.sites[s].candidates[i], &c = anchored.sites[s].candidates[i];
      EXPECT_EQ(c.groups, exact.groups);
      EXPECT_EQ(c.error, exact.error);
      EXPECT_EQ(c.measured, c.groups == 1 || c.groups == 8 ? exact.measured : -1.0);
      EXPECT_GT(c.divergence, 0.0);
    }
}

TEST(FitDivergences, RecoversAPowerLaw) {
  std::vector<SitePerturbation> sites;
  for (const double a : {0.3, 20.0, 0.01}) {
    SitePerturbation& site = sites.emplace_back();
    for (const int g : {1, 2, 4, 8}) {
      const double error = 0.5 * a / (g * g);
      site.candidates.push_back({g, 0.0, error, g == 2 || g == 8 ? a * std::pow(error, 1.3) : -1.0});
    }
  }
  fit_divergences(sites);
  std::size_t s = 0;
  for (const double a : {0.3, 20.0, 0.01})
    for (const GroupCandidate& c : sites[s++].candidates)
      EXPECT_NEAR(c.divergence / (a * std::pow(c.error, 1.3)), 1.0, 1e-9);
}

TEST(FitDivergences, OneAnchorAndNoErrorAtAllAreFinite) {
  std::vector<SitePerturbation> sites(2);
  for (const int g : {1, 2, 4}) {
    sites[0].candidates.push_back({g, 0.0, 0.1 / g, g == 2 ? 0.01 : -1.0});
    sites[1].candidates.push_back({g, 0.0, 0.0, g == 2 ? 0.0 : -1.0});
  }
  fit_divergences(sites);
  EXPECT_NEAR(sites[0].candidates[0].divergence, 0.02, 1e-12);  // in proportion to the error
  for (const GroupCandidate& c : sites[1].candidates) EXPECT_NEAR(c.divergence, 0.0, 1e-9);
  sites[0].candidates[1].measured = -1.0;
  EXPECT_THROW(fit_divergences(sites), Error);
}

TEST(SiteErrors, AreThoseOfTheQuantizer) {
  const std::vector<float> weight = {1.0f, -2.0f, 0.5f, 3.0f, 0.0f, 1.0f};  // [2 out][3 in]
  Linear linear("l", 3, 2, weight, {});
  Site site;
  site.linear = &linear;
  const auto columns = std::make_shared<const std::vector<float>>(column_powers(site));
  EXPECT_EQ(*columns, (std::vector<float>{10.0f, 4.0f, 1.25f}));
  ActivationPlan one, each;
  one.grouping = Grouping::kLayer;
  each.grouping = Grouping::kUpperBound;
  one.bits = each.bits = 3;
  one.groups = {{-1.0f, 2.0f}};
  SiteErrors errors(4, {&one, &each}, columns, kernels::kernels_for(Isa::kReference));
  const std::vector<float> x = {0.3f, -0.7f, 1.9f, -0.2f, 0.1f, 2.5f};  // [2 tokens][3]
  errors.on_tensor(3, Operand::kInput, 0, x.data(), 3, 2, 3);           // another site
  errors.on_tensor(4, Operand::kInput, 0, x.data(), 3, 2, 3);
  double expected[2] = {}, size = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % 3;
    const float other = x[(i + 3) % 6];
    const Bounds range{std::min(x[i], other), std::max(x[i], other)};
    const UniformQuantizer q[2] = {make_quantizer(one.groups[0], 3), make_quantizer(range, 3)};
    for (int g = 0; g < 2; ++g) {
      const double hat = q[g].scale * static_cast<float>(quantize(x[i], q[g]) - q[g].zero_point);
      expected[g] += (hat - x[i]) * (hat - x[i]) * (*columns)[c];
    }
    size += static_cast<double>(x[i]) * x[i] * (*columns)[c];
  }
  const std::vector<double> result = errors.take();
  ASSERT_EQ(result.size(), 2u);
  for (std::size_t g = 0; g < 2; ++g) EXPECT_NEAR(result[g], expected[g] / size, 1e-6 * expected[g] / size);
  EXPECT_EQ(errors.take(), (std::vector<double>{0.0, 0.0}));  // nothing seen since
}

}  // namespace
}  // namespace igq
