#include "allocation/trials.h"

#include <algorithm>
#include <array>

#include "base/fail.h"
#include "quant/weight_groups.h"
#include "quant/weights.h"

namespace igq {
namespace {

constexpr std::array kBitAnchors{3, 6};

std::vector<GroupCandidate> candidates_of(const Layer& layer, const PerturbationOptions& options) {
  std::vector<GroupCandidate> result;
  std::vector<int> groups = options.candidates;
  for (int& g : groups) g = std::clamp(g, 1, layer.members);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  for (const int g : groups) result.push_back({g, 0.0, 0.0, options.anchors.empty() ? kToRun : kNotRun});
  for (const int anchor : options.anchors) {
    const auto distance = [&](const GroupCandidate& c) { return std::abs(c.groups - anchor); };
    const auto nearer = [&](const auto& a, const auto& b) { return distance(a) < distance(b); };
    std::min_element(result.begin(), result.end(), nearer)->measured = kToRun;
  }
  return result;
}

/// Of bits, each with every number of groups that is a choice there. The softmax, whose queries, keys and values change
/// their bits too, has no error at the site that would stand for all of them: each is run.
std::vector<GroupCandidate> bit_candidates_of(const Layer& layer, const SiteShape& shape,
                                              const QuantizeOptions& options, const PerturbationOptions& perturbation) {
  std::vector<GroupCandidate> result;
  const bool run_all = perturbation.anchors.empty() || (shape.attention && !layer.weights);
  for (const int bits : layer.weights ? perturbation.weight_bits : perturbation.activation_bits) {
    QuantizeOptions at_bits = options;
    at_bits.allocated_bits[shape.name] = {bits, bits};
    const bool anchor = std::find(kBitAnchors.begin(), kBitAnchors.end(), bits) != kBitAnchors.end();
    Layer plain = layer;
    std::vector<GroupCandidate> groups{{options.groups}};
    if (!layer.weights && perturbation.choose_groups && has_group_choice(shape, at_bits))
      groups = candidates_of(plain, perturbation);
    for (GroupCandidate c : groups) {
      c.bits = bits;
      const bool middle = groups.size() == 1 || c.groups == options.groups;
      c.measured = run_all || (anchor && middle) ? kToRun : kNotRun;
      result.push_back(c);
    }
  }
  return result;
}

/// Rounded to nearest: second-order rounding, which comes later, gains about as much at every number of bits.
WeightPlan trial_weights(const Site& site, const QuantizeOptions& options, int bits) {
  const AlignedBuffer<float> weight = site.weight();
  const int in = site.contraction(), out = site.outputs(),
            group_size = effective_group_size(options.weight_groups, bits, in);
  return group_size == 0 ? quantize_weights(weight, in, out, bits, options.weight_quantile)
                         : quantize_grouped_weights(weight, in, out, bits, group_size, options.clipping);
}

}  // namespace

std::vector<Layer> layers_with_choice(std::span<const SiteShape> shapes, const QuantizeOptions& options,
                                      const PerturbationOptions& perturbation) {
  const bool of_bits = perturbation.of_bits();
  std::vector<Layer> layers;
  const auto add = [&](std::size_t i, bool weights) {
    const SiteShape& shape = shapes[i];
    Layer layer{static_cast<int>(i), static_cast<int>(shape.attention ? shape.tokens : shape.in), weights, {}, {}};
    layer.candidates =
        of_bits ? bit_candidates_of(layer, shape, options, perturbation) : candidates_of(layer, perturbation);
    layers.push_back(std::move(layer));
  };
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!of_bits && has_group_choice(shapes[i], options)) add(i, false);
    if (!of_bits || !has_bit_choice(shapes[i], options)) continue;
    if (!perturbation.activation_bits.empty()) add(i, false);
    if (!perturbation.weight_bits.empty() && !shapes[i].attention) add(i, true);
  }
  return layers;
}

double weight_error(const Site& site, const WeightPlan& plan) {
  const AlignedBuffer<float> weight = site.weight();
  const auto in = static_cast<std::size_t>(site.contraction()), out = static_cast<std::size_t>(site.outputs());
  const int offset = 1 << (plan.code_bits() - 1);
  double noise = 0.0, power = 0.0;
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i) {
      const auto w = static_cast<double>(weight[o * in + i]);
      const double w_hat = static_cast<double>(plan.scale[o]) * (plan.codes[i * out + o] + offset - plan.zero_point[o]);
      noise += (w - w_hat) * (w - w_hat);
      power += w * w;
    }
  return power > 0.0 ? noise / power : 0.0;
}

Trial make_trial(const Site& site, const Layer& layer, const Statistics& statistics, const QuantizeOptions& given,
                 GroupCandidate candidate) {
  Trial trial;
  trial.candidate = candidate;
  QuantizeOptions options = given;
  if (candidate.bits != 0) options.allocated_bits[site.name] = {candidate.bits, candidate.bits};
  if (site.has_weights()) {
    auto plan = std::make_shared<LinearPlan>();  // of a linear layer: without codes of what is not tried
    if (layer.weights) {
      plan->weight = trial_weights(site, options, candidate.bits);
      if (site.conv != nullptr) plan->input.grouping = Grouping::kUpperBound;
    } else {
      plan->input = plan_input(site, statistics.linear(layer.site), options, candidate.groups);
      if (site.conv != nullptr)
        plan->weight = quantize_weights(site.weight(), site.contraction(), site.outputs(), 8, options.weight_quantile);
    }
    trial.linear = std::move(plan);
  } else {
    auto plan = std::make_shared<AttentionPlan>(
        plan_attention(site, statistics.attention(layer.site), options, candidate.groups));
    if (candidate.bits == 0) plan->qkv = {};  // the softmax alone
    trial.attention = std::move(plan);
  }
  return trial;
}

void attach(const Site& site, const Trial* trial, const kernels::Kernels& kernels) {
  if (site.has_weights()) {
    site.set_plan(trial == nullptr ? nullptr : trial->linear);
    if (trial != nullptr) site.prepare(Execution::kSimulate, kernels);
  } else {
    site.attention->set_plan(trial == nullptr ? nullptr : trial->attention);
  }
}

Perturbations fitted_perturbations(const std::vector<Layer>& layers, std::span<const SiteShape> shapes,
                                   std::vector<SitePerturbation> measured, const PerturbationOptions& perturbation) {
  Perturbations result;
  std::vector<SitePerturbation> whole;  // of the softmax, all of whose bits were run
  for (std::size_t n = 0; n < layers.size(); ++n) {
    const Layer& layer = layers[n];
    auto& list = layer.weights                                                                      ? result.weights
                 : perturbation.of_bits() && shapes[static_cast<std::size_t>(layer.site)].attention ? whole
                                                                                                    : result.sites;
    list.push_back(std::move(measured[n]));
  }
  if (!perturbation.anchors.empty()) {
    fit_divergences(result.sites);
    fit_divergences(result.weights);
  }
  result.sites.insert(result.sites.end(), whole.begin(), whole.end());
  return result;
}

}  // namespace igq
