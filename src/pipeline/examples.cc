#include "pipeline/examples.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/fail.h"
#include "calibration/step_weights.h"
#include "io/json_fields.h"
#include "quant/grouping.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kMaxImages = 16;

/// Ranges of one image, of every quantized site: FC inputs, and each head of the first window of an attention.
class RangeObserver final : public SiteObserver {
 public:
  RangeObserver(const Model& model, const kernels::Kernels& kernels)
      : channels(model.sites().size()), rows(model.sites().size()), kernels_(kernels) {
    for (std::size_t s = 0; s < rows.size(); ++s)
      if (model.sites()[s].attention != nullptr)
        rows[s].resize(static_cast<std::size_t>(model.sites()[s].attention->heads()));
  }
  void on_tensor(int site, Operand operand, int part, const float* x, std::int64_t ld, int row_count,
                 int cols) override {
    if (operand != Operand::kInput && operand != Operand::kSoftmax) return;
    const bool by_row = operand == Operand::kSoftmax;
    auto& ranges = by_row ? rows[static_cast<std::size_t>(site)][static_cast<std::size_t>(part)]
                          : channels[static_cast<std::size_t>(site)];
    if (by_row && !ranges.empty()) return;  // a later window
    const auto n = static_cast<std::size_t>(by_row ? row_count : cols);
    std::vector<float> mn(n, kInfinity), mx(n, -kInfinity);
    if (by_row)
      kernels_.row_range(x, ld, row_count, cols, mn.data(), mx.data());
    else
      kernels_.channel_range(x, ld, row_count, cols, mn.data(), mx.data());
    ranges.clear();
    for (std::size_t i = 0; i < n; ++i) ranges.push_back({by_row ? 0.0f : mn[i], mx[i]});
  }

  std::vector<std::vector<Bounds>> channels;           ///< [site][channel]
  std::vector<std::vector<std::vector<Bounds>>> rows;  ///< [site][head][row]

 private:
  const kernels::Kernels& kernels_;
};

/// Standard deviation of the widths over the largest one, which a quantizer for all of them must span: 0 when all are
/// alike, 0.5 when half of them are as wide and half are nothing; one outlier among many gives little.
double unevenness(const std::vector<Bounds>& ranges) {
  double sum = 0.0, squares = 0.0, largest = 0.0;
  for (const Bounds& b : ranges) {
    const double width = static_cast<double>(b.upper) - static_cast<double>(b.lower);
    sum += width;
    squares += width * width;
    largest = std::max(largest, width);
  }
  const auto n = static_cast<double>(ranges.size());
  const double mean = sum / n, variance = squares / n - mean * mean;
  return largest > 0.0 ? std::sqrt(std::max(variance, 0.0)) / largest : 0.0;
}

RangeExample keep(std::string site, int head, const std::vector<std::vector<Bounds>>& images) {
  RangeExample example;
  example.site = std::move(site);
  example.head = head;
  const std::size_t members = images.front().size();
  example.members = static_cast<int>(members);
  example.stride = (example.members + kMaxMembers - 1) / kMaxMembers;
  for (const auto& ranges : images) {
    auto& kept = example.images.emplace_back();
    for (std::size_t i = 0; i < members; i += static_cast<std::size_t>(example.stride)) kept.push_back(ranges[i]);
  }
  return example;
}

/// The number with four significant digits: JSON prints it so short.
double rounded(float value) { return std::stod(fmt::format("{:.4g}", value)); }

json range_to_json(const RangeExample& example) {
  json images = json::array();
  for (const auto& ranges : example.images) {
    json lower = json::array(), upper = json::array();
    for (const Bounds& b : ranges) {
      lower.push_back(rounded(b.lower));
      upper.push_back(rounded(b.upper));
    }
    json image = {{"max", std::move(upper)}};
    if (example.head < 0) image["min"] = std::move(lower);
    images.push_back(std::move(image));
  }
  json result = {
      {"site", example.site}, {"members", example.members}, {"stride", example.stride}, {"images", std::move(images)}};
  if (example.head >= 0) result["head"] = example.head;
  return result;
}

RangeExample range_from_json(const json& j, const Model& model, bool softmax) {
  RangeExample example;
  example.site = json_string(json_at(j, "site"), "site");
  const int index = model.find_site(example.site);
  const Site* site = index < 0 ? nullptr : &model.sites()[static_cast<std::size_t>(index)];
  if (site == nullptr || (site->attention != nullptr) != softmax)
    fail("the example site '{}' is not one of the model's", example.site);
  const int members = softmax ? site->max_rows : site->linear->in_features();
  example.members = static_cast<int>(json_int(json_at(j, "members"), "members", members, members));
  example.stride = static_cast<int>(json_int(json_at(j, "stride"), "stride", 1, members));
  if (softmax) example.head = static_cast<int>(json_int(json_at(j, "head"), "head", 0, site->attention->heads() - 1));
  const auto kept = static_cast<std::size_t>((members + example.stride - 1) / example.stride);
  auto numbers = [&](const json& image, const char* key) {
    const json& array = json_array(json_at(image, key), key, kept);
    if (array.size() != kept)
      fail("'{}' of the example site '{}' has {} numbers instead of {}", key, example.site, array.size(), kept);
    std::vector<float> values;
    for (const json& value : array) values.push_back(json_float(value, key));
    return values;
  };
  const json& images = json_array(json_at(j, "images"), "images", kMaxImages);
  for (const json& image : images) {
    const std::vector<float> upper = numbers(image, "max");
    const std::vector<float> lower = softmax ? std::vector<float>(kept, 0.0f) : numbers(image, "min");
    auto& ranges = example.images.emplace_back();
    for (std::size_t i = 0; i < kept; ++i) {
      if (lower[i] > upper[i]) fail("a range of the example site '{}' has its minimum above its maximum", example.site);
      ranges.push_back({lower[i], upper[i]});
    }
  }
  if (example.images.empty()) fail("the example site '{}' has no images", example.site);
  return example;
}

}  // namespace

Examples measure_examples(Model& model, Isa isa, ThreadPool& pool, std::int64_t count,
                          const std::function<void(std::int64_t, float*)>& load) {
  const kernels::Kernels& kernels = kernels::kernels_for(isa);
  ExecContext context;
  context.kernels = &kernels;
  context.pool = &pool;
  context.execution = Execution::kSimulate;
  std::vector<RangeObserver> seen;
  std::vector<AlignedBuffer<float>> inputs;
  std::vector<StepState> states(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    load(i, inputs.emplace_back(static_cast<std::size_t>(model.image_floats())).data());
    states[static_cast<std::size_t>(i)].image = inputs.back().data();
    seen.emplace_back(model, kernels);
  }
  // Step by step, so that the simulated weights of one step at a time are held.
  for (int step = 0; step < model.steps(); ++step) {
    prepare_simulated(model, step, kernels);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      context.observer = &seen[i];
      context.arena.reset();
      model.run_step(context, step, states[i]);
    }
    forget_simulated(model, step);
  }
  Examples examples;
  if (seen.empty()) return examples;

  // Sites with more than one group first, then the most uneven one; the earlier of equals.
  struct Best {
    int groups = 0;
    double score = -1.0;
    bool beaten_by(int g, double s) const { return g > groups || (g == groups && s > score); }
  } best_channels, best_rows;
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    const Site& site = model.sites()[s];
    if (site.linear != nullptr) {
      if (site.linear->plan() == nullptr || site.linear->plan()->input.grouping == Grouping::kFloat) continue;
      std::vector<std::vector<Bounds>> images;
      double score = 0.0;
      for (const RangeObserver& o : seen) score += unevenness(images.emplace_back(o.channels[s]));
      const int groups = std::min(group_count(site.linear->plan()->input, site.linear->in_features()), 2);
      if (!best_channels.beaten_by(groups, score)) continue;
      best_channels = {groups, score};
      examples.channels = keep(site.name, -1, images);
    } else {
      if (site.attention->plan() == nullptr || site.attention->plan()->softmax.grouping == Grouping::kFloat) continue;
      const int groups = std::min(group_count(site.attention->plan()->softmax, site.max_rows), 2);
      for (std::size_t head = 0; head < seen.front().rows[s].size(); ++head) {
        std::vector<std::vector<Bounds>> images;
        double score = 0.0;
        for (const RangeObserver& o : seen) score += unevenness(images.emplace_back(o.rows[s][head]));
        if (!best_rows.beaten_by(groups, score)) continue;
        best_rows = {groups, score};
        examples.rows = keep(site.name, static_cast<int>(head), images);
      }
    }
  }
  return examples;
}

json examples_to_json(const Examples& examples) {
  json result = json::object();
  if (!examples.channels.site.empty()) result["channels"] = range_to_json(examples.channels);
  if (!examples.rows.site.empty()) result["softmax"] = range_to_json(examples.rows);
  return result;
}

Examples examples_from_json(const json& j, const Model& model) {
  Examples examples;
  if (const json* channels = json_find(j, "channels")) examples.channels = range_from_json(*channels, model, false);
  if (const json* rows = json_find(j, "softmax")) examples.rows = range_from_json(*rows, model, true);
  return examples;
}

}  // namespace igq
