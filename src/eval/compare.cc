#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/fail.h"
#include "eval/evaluate.h"
#include "io/overlaid_tensors.h"

namespace igq {
namespace {

struct Energy {
  double signal = 0.0, noise = 0.0;
  void add(const float* reference, const float* test, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const double r = static_cast<double>(reference[i]), d = r - static_cast<double>(test[i]);
      signal += r * r;
      noise += d * d;
    }
  }
  double decibels() const {
    if (noise <= 0.0) return kNoNoise;
    return signal <= 0.0 ? -kNoNoise : std::clamp(10.0 * std::log10(signal / noise), -kNoNoise, kNoNoise);
  }
};

/// Keeps the outputs of the sites of one step.
class OutputRecorder final : public SiteObserver {
 public:
  explicit OutputRecorder(std::size_t sites) : outputs(sites) {}
  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) override {
    if (operand != Operand::kOutput) return;
    auto& out = outputs[static_cast<std::size_t>(site)];
    out.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(x + r * ld, cols, out.data() + r * cols);
  }
  std::vector<AlignedBuffer<float>> outputs;
};

/// Adds the difference of outputs from the recorded ones.
class NoiseMeter final : public SiteObserver {
 public:
  explicit NoiseMeter(const OutputRecorder& reference, std::size_t sites) : energy(sites), reference_(reference) {}
  void on_tensor(int site, Operand operand, int, const float* x, std::int64_t ld, int rows, int cols) override {
    if (operand != Operand::kOutput || (only >= 0 && site != only)) return;
    const float* expected = reference_.outputs[static_cast<std::size_t>(site)].data();
    for (std::int64_t r = 0; r < rows; ++r)
      energy[static_cast<std::size_t>(site)].add(expected + r * cols, x + r * ld, static_cast<std::size_t>(cols));
  }
  int only = -1;
  std::vector<Energy> energy;

 private:
  const OutputRecorder& reference_;
};

void copy_state(const StepState& from, StepState& to) {
  to.image = from.image;
  to.x = from.x;
  to.tokens = from.tokens;
  to.channels = from.channels;
  to.height = from.height;
  to.width = from.width;
}

void check_same_sites(const Model& a, const Model& b) {
  const bool same =
      a.steps() == b.steps() && a.config().num_classes == b.config().num_classes &&
      std::equal(a.sites().begin(), a.sites().end(), b.sites().begin(), b.sites().end(),
                 [](const Site& x, const Site& y) {
                   const auto width = [](const Site& s) {
                     return s.linear != nullptr ? s.linear->out_features() : s.attention->heads();
                   };
                   return x.name == y.name && x.max_rows == y.max_rows && x.step == y.step && width(x) == width(y);
                 });
  if (!same || a.image_floats() != b.image_floats())
    fail("the two models are not of the same architecture, classes and image size ({} and {})", a.config().architecture,
         b.config().architecture);
}

}  // namespace

double cosine(std::span<const float> a, std::span<const float> b) {
  double aa = 0.0, bb = 0.0, ab = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  if (aa <= 0.0 || bb <= 0.0) return aa == bb ? 1.0 : 0.0;
  return std::clamp(ab / (std::sqrt(aa) * std::sqrt(bb)), -1.0, 1.0);
}

CosineSummary summarize(std::vector<double> cosines) {
  if (cosines.empty()) return {};
  double sum = 0.0;
  for (const double c : cosines) sum += c;
  std::sort(cosines.begin(), cosines.end());
  return {sum / static_cast<double>(cosines.size()), cosines[(cosines.size() + 99) / 100 - 1]};
}

Comparison compare_models(Model& reference, Model& test, const CompareOptions& options, Isa isa, ThreadPool& pool,
                          std::int64_t count, const std::function<void(std::int64_t, float*)>& load,
                          const std::function<void(std::int64_t)>& after) {
  check_same_sites(reference, test);
  const kernels::Kernels& kernels = kernels::kernels_for(isa);
  const auto sites = test.sites();
  OutputRecorder recorder(sites.size());
  NoiseMeter alone(recorder, sites.size()), accumulated(recorder, sites.size());
  auto make_context = [&](Execution execution, SiteObserver* observer) {
    ExecContext context;
    context.kernels = &kernels;
    context.pool = &pool;
    context.execution = execution;
    context.observer = observer;
    return context;
  };
  ExecContext reference_context = make_context(options.reference, &recorder);
  ExecContext test_context = make_context(options.test, &accumulated);
  ExecContext alone_context = make_context(Execution::kFloat, &alone);
  reference.prepare(options.reference, kernels);
  test.prepare(options.test, kernels);
  if (options.alone) test.prepare(Execution::kFloat, kernels);

  Comparison result;
  Energy logits;
  AlignedBuffer<float> image(static_cast<std::size_t>(reference.image_floats()));
  StepState reference_state, test_state, before, single;
  for (std::int64_t i = 0; i < count; ++i) {
    load(i, image.data());
    reference_state.image = test_state.image = image.data();
    const bool measure_alone = options.alone && i < options.alone_images;
    for (int step = 0; step < reference.steps(); ++step) {
      if (measure_alone) copy_state(reference_state, before);
      reference_context.arena.reset();
      reference.run_step(reference_context, step, reference_state);
      test_context.arena.reset();
      test.run_step(test_context, step, test_state);
      if (!measure_alone) continue;
      for (std::size_t s = 0; s < sites.size(); ++s) {
        if (sites[s].step != step) continue;
        alone_context.site_execution.assign(sites.size(), Execution::kFloat);
        alone_context.site_execution[s] = options.test;
        alone.only = static_cast<int>(s);
        copy_state(before, single);
        alone_context.arena.reset();
        test.run_step(alone_context, step, single);
      }
    }
    const std::span<const float> expected = reference_state.output(), got = test_state.output();
    logits.add(expected.data(), got.data(), expected.size());
    ++result.images;
    if (after) after(i + 1);
    if (reference.config().num_classes == 0) {
      result.cosines.push_back(cosine(expected, got));
      result.reference_vectors.insert(result.reference_vectors.end(), expected.begin(), expected.end());
      result.test_vectors.insert(result.test_vectors.end(), got.begin(), got.end());
      continue;
    }
    const int a = rank_classes(expected, 1).at(0), b = rank_classes(got, 1).at(0);
    result.reference_classes.push_back(a);
    result.test_classes.push_back(b);
    if (a == b)
      ++result.agreements;
    else
      result.flips.push_back({i, a, b});
  }
  result.logits_snr = logits.decibels();
  for (std::size_t s = 0; s < sites.size(); ++s) {
    if (options.leave_out_qkv && sites[s].name.ends_with("qkv")) continue;
    SiteNoise noise{sites[s].name, {}, accumulated.energy[s].decibels()};
    if (options.alone && count > 0) noise.alone = alone.energy[s].decibels();
    result.sites.push_back(std::move(noise));
  }
  return result;
}

bool is_balanced(const LoadedModel& quantized) {
  const auto found = quantized.report.find(kBalancedKey);
  return found != quantized.report.end() && found->is_boolean() && found->get<bool>();
}

std::unique_ptr<Model> with_float_weights(const LoadedModel& quantized, std::shared_ptr<const TensorSource> weights) {
  std::set<std::string> hidden;
  for (const auto& [name, shape] : expected_tensors(quantized.model->config())) {
    if (!name.ends_with(".weight") || quantized.tensors->has(name)) continue;
    const auto found = weights->shapes().find(name);
    if (found == weights->shapes().end() || found->second != shape) return nullptr;
    if (is_balanced(quantized) && name.ends_with("qkv.weight")) hidden.insert(name);
  }
  return build_model(quantized.model->config(), OverlaidTensors(quantized.tensors, weights, hidden),
                     quantized.model->shared_plan());
}

}  // namespace igq
