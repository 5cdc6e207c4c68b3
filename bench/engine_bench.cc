// Whole models, one image after the other: the executions of one architecture side by side, interleaved round by round,
// and where the time of each goes. Random weights, quantizers from synthetic calibration. Without Google Benchmark,
// because rounds of several variants must alternate for their ratios to mean something on a shared machine.
//
//   bench_engine [ARCH] [threads] [rounds] [isa]      ARCH: deit_tiny, deit_small (default), deit_base, swin_tiny
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "base/fail.h"
#include "base/hash.h"
#include "base/random.h"
#include "calibration/calibrate.h"
#include "io/memory_tensors.h"
#include "models/runner.h"

namespace {

using namespace igq;

ModelConfig config_of(const std::string& name) {
  ModelConfig config;
  config.architecture = name;
  VitConfig& v = config.vit;
  const auto vit = [&](int dim, int heads) {
    v.embed_dim = dim;
    v.num_heads = heads;
    v.mlp_hidden = 4 * dim;
  };
  if (name == "deit_tiny")
    vit(192, 3);
  else if (name == "deit_small")
    vit(384, 6);
  else if (name == "deit_base")
    vit(768, 12);
  else if (name == "swin_tiny")
    config.family = Family::kSwin;
  else
    fail("unknown architecture '{}': use deit_tiny, deit_small, deit_base or swin_tiny", name);
  return config;
}

/// Weights of variance 1 / in and norms of widely varying gain, so that channels differ as they do in trained models.
MemoryTensors random_tensors(const ModelConfig& config) {
  MemoryTensors tensors("random");
  Random random(1);
  for (const auto& [name, shape] : expected_tensors(config)) {
    std::int64_t count = 1;
    for (const std::int64_t d : shape) count *= d;
    AlignedBuffer<float> values(static_cast<std::size_t>(count));
    const bool norm = shape.size() == 1 && name.ends_with(".weight");
    const double sigma = shape.size() == 1 ? 0.1 : 1.0 / std::sqrt(static_cast<double>(count / shape[0]));
    for (float& x : values) x = static_cast<float>(norm ? std::exp(random.normal()) : sigma * random.normal());
    tensors.add(name, shape, std::move(values));
  }
  return tensors;
}

struct Variant {
  std::string name;
  std::unique_ptr<Model> model;
  std::unique_ptr<Runner> runner;
  Profile profile;
  std::vector<double> ms;
};

/// Of one image: processor time with one thread, so that other processes on the core do not count; else wall time.
double milliseconds(Runner& runner, const float* image) {
  const auto now = [&] {
    timespec t{};
    clock_gettime(runner.threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
  };
  const double begin = now();
  runner.run(image);
  return now() - begin;
}

/// Of the logits: equal for every instruction set and thread count.
std::string hash_of(std::span<const float> logits) { return hash_text(hash_bytes(std::as_bytes(logits))); }

void print_profile(const Variant& v) {
  fmt::print("\n{}, least ms by kind of work:\n", v.name);
  double sum = 0.0;
  for (std::size_t w = 0; w < v.profile.seconds.size(); ++w) {
    const double ms = 1e3 * v.profile.seconds[w];
    sum += ms;
    if (ms > 0.0) fmt::print("  {:20s} {:8.3f}\n", work_name(static_cast<Work>(w)), ms);
  }
  fmt::print("  {:20s} {:8.3f}\n", "all of these", sum);
}

void run(int argc, char** argv) {
  const std::string arch = argc > 1 ? argv[1] : "deit_small";
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1, rounds = argc > 3 ? std::atoi(argv[3]) : 30;
  const Isa isa = parse_isa(argc > 4 ? argv[4] : "auto");
  const ModelConfig config = config_of(arch);
  const MemoryTensors tensors = random_tensors(config);

  AlignedBuffer<float> image;
  const auto load = [&](std::int64_t i, float* to) {
    Random random(static_cast<std::uint64_t>(i) + 10);
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(image.size()); ++k)
      to[k] = static_cast<float>(random.normal());
  };
  std::vector<Variant> variants;
  const auto add = [&](std::string name, Execution execution, Grouping grouping, int groups,
                       bool integer_scales = false, int bits = 8) {
    Variant v{std::move(name), build_model(config, tensors), nullptr, {}, {}};
    if (image.empty()) image.resize(static_cast<std::size_t>(v.model->image_floats()));
    if (execution != Execution::kFloat) {
      Runner calibration(*v.model, Execution::kFloat, best_isa(), 1);
      const Statistics statistics = collect_statistics(calibration, 2, 0, load);
      QuantizeOptions options;
      options.weight_bits = options.activation_bits = bits;
      options.integer_ratios = integer_scales;
      options.grouping = grouping;
      options.groups = groups;
      v.model->set_plan(
          std::make_shared<QuantizationPlan>(make_plan(*v.model, statistics, options, calibration.pool())));
    }
    v.runner = std::make_unique<Runner>(*v.model, execution, isa, threads);
    variants.push_back(std::move(v));
  };
  const char* only = std::getenv("IGQ_BENCH_ONLY");  // set: the 8-group engine alone, for perf
  if (only == nullptr) add("float", Execution::kFloat, Grouping::kFloat, 0);
  add("integer w8a8 igq 8", Execution::kInteger, Grouping::kIgq, 8);
  if (only == nullptr) {
    add("integer w8a8 igq 1", Execution::kInteger, Grouping::kIgq, 1);
    add("integer w8a8 layer", Execution::kInteger, Grouping::kLayer, 1);
    add("w8a8 scale 8 free", Execution::kInteger, Grouping::kScale, 8);
    add("w8a8 scale 8 integer", Execution::kInteger, Grouping::kScale, 8, true);
    add("w8a8 scale 1 integer", Execution::kInteger, Grouping::kScale, 1, true);
    add("w4a4 scale integer", Execution::kInteger, Grouping::kScale, 8, true, 4);
  }
  load(0, image.data());

  for (Variant& v : variants)
    for (int i = 0; i < 3; ++i) v.runner->run(image.data());
  for (int r = 0; r < rounds; ++r)
    for (Variant& v : variants) v.ms.push_back(milliseconds(*v.runner, image.data()));
  for (int r = 0; r < rounds; ++r)
    for (Variant& v : variants) {
      Profile profile;
      v.runner->context().profile = &profile;
      v.runner->run(image.data());
      v.runner->context().profile = nullptr;
      for (std::size_t w = 0; w < profile.seconds.size(); ++w) {
        double& least = v.profile.seconds[w];
        least = r == 0 ? profile.seconds[w] : std::min(least, profile.seconds[w]);
      }
    }

  fmt::print("{}, {}, {}, {} threads, batch 1, {} rounds\n", arch, cpu_name(), isa_name(isa), threads, rounds);
  for (Variant& v : variants) std::sort(v.ms.begin(), v.ms.end());
  const std::size_t middle = static_cast<std::size_t>(rounds) / 2;
  for (const Variant& v : variants)
    fmt::print("  {:20s} median {:7.2f} ms  min {:7.2f} ms  speed against float {:5.2f}  logits {}\n", v.name,
               v.ms[middle], v.ms[0], variants[0].ms[middle] / v.ms[middle], hash_of(v.runner->run(image.data())));
  for (const Variant& v : variants) print_profile(v);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
