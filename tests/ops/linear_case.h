// One fully connected layer with a random plan, and what its integer execution must give, computed with plain integers
// from the definitions (docs/method.md, sections 2, 3, 8; table.h ByteGemm) and nothing of the code under test but the
// scalar quantizers.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "quant/grouping.h"
#include "quant/weight_groups.h"

namespace igq::test {

enum class Values {
  kRandom,
  kEnds,     ///< activations far beyond their bounds and weight codes at the ends of their range, signs mixed
  kLargest,  ///< all codes at the upper end, all weight codes at the lower end: the largest sums
};

struct LinearCase {
  int rows, in, out;
  Grouping grouping;
  int groups;
  int a_bits, w_bits;
  Values values = Values::kRandom;
  std::vector<std::int32_t> multiples = {};  ///< kScale: scales are these multiples of a unit, one per group
  bool weight_zero = true;                   ///< zero-points other than the middle, which need the row sums
  int weight_group = 0;                      ///< inputs per weight group; 0: none
  bool unclipped = false;   ///< kScale: channels far from zero, too wide for calibration's groups, constant
  bool from_image = false;  ///< kLayer: the image's own range

  std::vector<float> x, bias;
  std::shared_ptr<LinearPlan> plan;

  void make(std::uint64_t seed) {
    Random random(seed);
    const auto normal = [&](double sigma) { return static_cast<float>(sigma * random.normal()); };
    const auto n = static_cast<std::size_t>(rows) * static_cast<std::size_t>(in);
    plan = std::make_shared<LinearPlan>();
    plan->input.grouping = grouping;
    plan->input.bits = a_bits;
    plan->input.unclipped = unclipped;
    plan->input.from_image = from_image;
    for (int g = 0; g < groups && grouping != Grouping::kUpperBound; ++g) {
      const float spread = 0.3F * static_cast<float>(g + 1);
      if (grouping == Grouping::kScale)
        plan->input.groups.push_back({0.0F, 2 * spread});
      else
        plan->input.groups.push_back({-spread * static_cast<float>(random.uniform()), spread});
      if (grouping == Grouping::kLayer) break;
    }
    if (!multiples.empty()) {
      plan->input.multiples = multiples;
      plan->input.unit = 0.004F;
      plan->input.groups.clear();
      for (const std::int32_t m : multiples)
        plan->input.groups.push_back(
            {0.0F, static_cast<float>(m) * plan->input.unit * static_cast<float>(code_max(a_bits))});
    }
    WeightPlan& w = plan->weight;
    const int middle = 1 << (w_bits - 1), top = code_max(w_bits);
    w.bits = w_bits;
    w.codes.resize(static_cast<std::size_t>(in) * static_cast<std::size_t>(out));
    for (auto& code : w.codes) {
      int unsigned_code = static_cast<int>(random.below(static_cast<std::uint64_t>(top) + 1));
      if (values == Values::kEnds) unsigned_code = random.below(2) != 0 ? top : 0;
      if (values == Values::kLargest) unsigned_code = 0;
      code = static_cast<std::int8_t>(unsigned_code - middle);
    }
    if (weight_group != 0) group_weights(random);
    for (int o = 0; o < out && weight_group == 0; ++o) {
      w.scale.push_back(0.01F + 0.1F * static_cast<float>(random.uniform()));
      w.zero_point.push_back(weight_zero ? static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(top) + 1))
                                         : middle);
    }
    for (int o = 0; o < out; ++o) bias.push_back(normal(1.0));
    std::vector<double> sigma(static_cast<std::size_t>(in));
    for (double& s : sigma) s = 0.1 + random.uniform();
    x.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      x[i] = normal(sigma[i % sigma.size()]);
      if (values == Values::kEnds) x[i] = random.below(2) != 0 ? 1e6F : -1e6F;
      if (values == Values::kLargest) x[i] = 1e6F;
      if (unclipped) make_hostile(i, static_cast<std::size_t>(i % sigma.size()));
    }
  }

 private:
  /// By channel: as it is, far from zero, very far, constant, all zero, wider than any group.
  void make_hostile(std::size_t i, std::size_t channel) {
    switch (channel % 7) {
      case 1:
        x[i] = 5.0F + 0.01F * x[i];
        break;
      case 2:
        x[i] = -3000.0F + 0.001F * x[i];
        break;
      case 3:
        x[i] = 0.7F;
        break;
      case 4:
        x[i] = 0.0F;
        break;
      case 5:
        if (values == Values::kEnds) x[i] *= 30.0F;
        break;
      default:
        break;
    }
  }
  /// Random multipliers and zero-points, codes as the values ask.
  void group_weights(Random& random) {
    WeightPlan& w = plan->weight;
    const AlignedBuffer<std::int8_t> codes = w.codes;
    w = make_grouped_plan(in, out, w_bits, weight_group);
    for (std::size_t i = 0; i < w.multiplier.size(); ++i) {
      w.group_zero[i] = static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(code_max(w_bits)) + 1));
      const int most = max_multiplier(w_bits, w.group_zero[i]);
      w.multiplier[i] = static_cast<std::uint8_t>(
          values == Values::kRandom ? 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(most))) : most);
    }
    expand_group_codes(w, codes);
    for (float& scale : w.scale) scale = 0.001F + 0.01F * static_cast<float>(random.uniform());
  }
};

/// The weights by their definition in plan.h, whatever the plan keeps them as: scale [out] times these integers
/// [in][out].
inline std::vector<int> integer_weights(const LinearCase& c) {
  const WeightPlan& w = c.plan->weight;
  const auto out = static_cast<std::size_t>(c.out);
  std::vector<int> result;
  AlignedBuffer<std::int8_t> codes = w.codes;
  if (w.group_size != 0) codes = group_codes(w);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const int code = codes[i] + (1 << (w.bits - 1));
    const std::size_t n = i % out,
                      g = w.group_size == 0 ? 0 : i / out / static_cast<std::size_t>(w.group_size) * out + n;
    result.push_back(w.group_size == 0 ? code - w.zero_point[n] : w.multiplier[g] * (code - w.group_zero[g]));
  }
  return result;
}

/// A group by definition: the nearest pair of bounds, or the smallest scale that holds the range.
inline int group_of(const LinearCase& c, int channel, float mn, float mx, float offset_width, float stretch) {
  const auto& groups = c.plan->input.groups;
  const int count = static_cast<int>(groups.size());
  int best = 0;
  switch (c.grouping) {
    case Grouping::kStaticGroup:
      return static_cast<int>(static_cast<std::int64_t>(channel) * count / c.in);
    case Grouping::kIgq: {
      float least = 0.0F;
      for (int g = 0; g < count; ++g) {
        const auto& b = groups[static_cast<std::size_t>(g)];
        const float du = mx - b.upper, dl = mn - b.lower, d = du * du + dl * dl;
        if (g == 0 || d < least) best = g, least = d;
      }
      return best;
    }
    case Grouping::kScale:
      while (best + 1 < count && groups[static_cast<std::size_t>(best)].upper * stretch <
                                     std::fmax(mx - mn, std::fabs(mn + mx) * offset_width))
        ++best;
      return best;
    case Grouping::kUpperBound:
      return channel;
    default:
      return 0;
  }
}

struct LinearResult {
  std::vector<float> y;       ///< what integers must give, bit by bit
  std::vector<double> exact;  ///< the same without any rounding after the codes
  std::vector<double> bound;  ///< of the rounding errors of any float evaluation in either execution
};

inline LinearResult expected(const LinearCase& c) {
  const auto in = static_cast<std::size_t>(c.in), out = static_cast<std::size_t>(c.out);
  const WeightPlan& w = c.plan->weight;
  const int middle = 1 << (w.code_bits() - 1);
  const std::vector<int> integers = integer_weights(c);
  const int groups = c.grouping == Grouping::kUpperBound ? c.in : static_cast<int>(c.plan->input.groups.size());
  std::vector<UniformQuantizer> quantizer(in);
  std::vector<int> group(in);
  std::vector<float> group_scale(static_cast<std::size_t>(groups));
  for (int g = 0; g < groups && c.grouping != Grouping::kUpperBound; ++g)
    group_scale[static_cast<std::size_t>(g)] =
        make_quantizer(c.plan->input.groups[static_cast<std::size_t>(g)], c.a_bits).scale;
  for (std::size_t g = 0; g < c.multiples.size(); ++g)
    group_scale[g] = static_cast<float>(c.multiples[g]) * c.plan->input.unit;
  std::vector<float> lowest(in, INFINITY), highest(in, -INFINITY);
  for (std::size_t i = 0; i < c.x.size(); ++i) {
    lowest[i % in] = std::fmin(lowest[i % in], c.x[i]);
    highest[i % in] = std::fmax(highest[i % in], c.x[i]);
  }
  ZeroPointLimits limits;
  float stretch = 1.0F;
  Bounds image;
  if (c.unclipped) {
    const bool in_slots = fits_slots(c.plan->input, c.in);
    const auto top = static_cast<float>(code_max(c.a_bits)),
               limit = in_slots
                           ? 32000.0F
                           : std::fmin(std::fmax(16777215.0F / static_cast<float>(c.in) - 510.0F, 512.0F), 32000.0F);
    limits = {-std::floor(limit) - top, std::floor(limit) + top, 0.5F * top / std::floor(limit)};
    float widest = 0.0F;
    for (std::size_t k = 0; k < in; ++k)
      widest =
          std::fmax(widest, std::fmax(highest[k] - lowest[k], limits.offset_width * std::fabs(lowest[k] + highest[k])));
    const float needed = widest / (group_scale.back() * top);
    if (needed > 1.0001F) stretch = needed;
    for (float& scale : group_scale) scale *= stretch;
  }
  for (std::size_t k = 0; k < in; ++k) image = {std::fmin(image.lower, lowest[k]), std::fmax(image.upper, highest[k])};
  if (c.from_image) group_scale[0] = make_quantizer(image, c.a_bits).scale;
  const bool unit = !c.multiples.empty() || c.from_image;
  const float image_scale = c.from_image ? group_scale[0] : stretch;
  for (std::size_t k = 0; k < in; ++k) {
    const float mn = lowest[k], mx = highest[k];
    group[k] = group_of(c, static_cast<int>(k), mn, mx, limits.offset_width, stretch);
    const auto g = static_cast<std::size_t>(group[k]);
    if (c.grouping == Grouping::kScale)
      quantizer[k] = make_centred_quantizer({mn, mx}, group_scale[g], c.a_bits, limits);
    else if (c.from_image)
      quantizer[k] = make_quantizer(image, c.a_bits);
    else
      quantizer[k] =
          make_quantizer(c.grouping == Grouping::kUpperBound ? Bounds{mn, mx} : c.plan->input.groups[g], c.a_bits);
    if (c.grouping == Grouping::kUpperBound) group_scale[g] = quantizer[k].scale;
  }
  const bool needs_row_sum = [&] {
    for (const auto z : w.zero_point)
      if (z != middle) return true;
    return false;
  }();
  LinearResult r;
  for (int t = 0; t < c.rows; ++t) {
    std::vector<std::int64_t> code(in), code_sum(static_cast<std::size_t>(groups));
    for (std::size_t k = 0; k < in; ++k) {
      code[k] = quantize(c.x[static_cast<std::size_t>(t) * in + k], quantizer[k]) - quantizer[k].zero_point;
      code_sum[static_cast<std::size_t>(group[k])] += code[k];
    }
    float row_sum = 0.0F;
    for (std::size_t g = 0; g < group_scale.size(); ++g)
      row_sum = std::fma(static_cast<float>(code_sum[g]), group_scale[g], row_sum);
    // Multiples of a unit: one exact sum, rounded once.
    const auto in_units = [&](const std::vector<std::int64_t>& sums) {
      std::int64_t total = 0;
      for (std::size_t g = 0; g < c.multiples.size(); ++g) total += c.multiples[g] * sums[g];
      if (c.from_image) total = sums[0];
      return static_cast<float>(total) * image_scale;
    };
    if (unit) row_sum = in_units(code_sum);
    for (std::size_t n = 0; n < out; ++n) {
      std::vector<std::int64_t> sum(group_scale.size());
      const int zero = w.zero_point[n] - middle;
      double exact = 0.0, magnitude = 0.0;
      for (std::size_t k = 0; k < in; ++k) {
        const int weight = w.codes[k * out + n];
        const double scale = static_cast<double>(group_scale[static_cast<std::size_t>(group[k])]) * w.scale[n];
        sum[static_cast<std::size_t>(group[k])] += code[k] * weight;
        exact += scale * static_cast<double>(code[k] * integers[k * out + n]);
        magnitude += scale * static_cast<double>(std::llabs(code[k]) * (std::abs(weight) + std::abs(zero)));
      }
      float v = 0.0F;
      for (std::size_t g = 0; g < sum.size(); ++g) v = std::fma(static_cast<float>(sum[g]), group_scale[g], v);
      if (unit) v = in_units(sum);
      if (needs_row_sum) v = std::fma(-static_cast<float>(zero), row_sum, v);
      r.y.push_back(std::fma(v, c.multiples.empty() ? w.scale[n] : w.scale[n] * c.plan->input.unit, c.bias[n]));
      r.exact.push_back(exact + c.bias[n]);
      // At most in + groups + 6 roundings, each 2^-24 of a partial result no larger than the magnitudes' sum.
      r.bound.push_back(0x1p-24 * (c.in + groups + 6) * (magnitude + std::abs(c.bias[n])) * 1.01);
    }
  }
  return r;
}

}  // namespace igq::test
