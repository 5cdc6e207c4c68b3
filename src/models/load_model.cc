#include "models/load_model.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <mutex>
#include <numeric>

#include "base/fail.h"
#include "base/hash.h"
#include "base/loading_threads.h"
#include "base/random.h"
#include "io/memory_tensors.h"
#include "models/config_check.h"
#include "models/hub_cache.h"

namespace igq {
namespace {

namespace fs = std::filesystem;

LoadedModel load_quantized(const fs::path& path) {
  QuantizedModel stored = load_igq(path);
  LoadedModel loaded;
  loaded.quantized = true;
  loaded.tensors = std::move(stored.tensors);
  loaded.provenance = std::move(stored.provenance);
  loaded.report = std::move(stored.report);
  loaded.stored_plan = std::make_shared<QuantizationPlan>(std::move(stored.plan));
  try {
    loaded.model = build_model(stored.config, *loaded.tensors, loaded.stored_plan);
  } catch (const Error& e) {
    const std::string text = e.what();
    if (text.starts_with(path.string())) throw;
    fail("{}: {}", path.string(), text);
  }
  return loaded;
}

/// Mean 0, variance 1, close to normal: the sum of four uniform numbers from one draw; models have up to 10^9 weights.
float near_normal(Random& random) {
  const std::uint64_t bits = random.next();
  const auto sum =
      static_cast<std::int64_t>((bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48));
  constexpr double kDeviation = 65536.0 * 0.57735026918962576;  // sqrt(4 / 12)
  return static_cast<float>(static_cast<double>(sum - 131070) / kDeviation);
}

/// Mean and deviation of a tensor's random values.
struct Spread {
  float mean, deviation;
};

Spread spread_of(const std::string& name, const Shape& shape) {
  const bool vector = shape.size() == 1;
  if (vector && name.ends_with("gamma")) return {0.5f, 0.1f};
  if (vector && name.ends_with("weight")) return {1.0f, 0.1f};
  if (vector) return {0.0f, 0.05f};
  if (name.ends_with("token") || name.ends_with("pos_embed") || name.ends_with("bias_table")) return {0.0f, 0.5f};
  const std::int64_t in = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  return {0.0f, 1.0f / std::sqrt(static_cast<float>(in))};
}

std::size_t weight_count(const Linear& linear) {
  return static_cast<std::size_t>(linear.in_features()) * static_cast<std::size_t>(linear.out_features());
}

/// Codes that have been packed: the panels of other layers take their memory, whose pages need not be cleared once
/// more. Thread safe.
class SpareBuffers {
 public:
  /// Memory for `bytes` or a little more; empty when there is none.
  AlignedBuffer<std::int8_t> take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(buffers_.begin(), buffers_.end(),
                                    [&](const auto& b) { return b.size() >= bytes && b.size() <= bytes + bytes / 4; });
    if (found == buffers_.end()) return {};
    AlignedBuffer<std::int8_t> buffer = std::move(*found);
    buffers_.erase(found);
    return buffer;
  }
  void give(AlignedBuffer<std::int8_t> buffer) {
    constexpr std::size_t kMost = 8;  // a block's four layers on two threads
    const std::lock_guard lock(mutex_);
    if (buffers_.size() == kMost) buffers_.pop_front();
    buffers_.push_back(std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::deque<AlignedBuffer<std::int8_t>> buffers_;
};

}  // namespace

void LoadedModel::prepare_only(Execution execution, const kernels::Kernels& kernels) {
  std::vector<Linear*> linears;
  std::uint64_t weights = 0;
  for (const Site& site : model->sites()) {
    if (site.linear == nullptr) continue;
    linears.push_back(site.linear);
    weights += weight_count(*site.linear);
  }
  SpareBuffers spare;
  for_each_loading(weights, linears.size(), [&](std::size_t i) {
    Linear& linear = *linears[i];
    linear.prepare(execution, kernels, spare.take(weight_count(linear)));
    if (stored_plan != nullptr && linear.packed_for(kernels))
      spare.give(std::move(stored_plan->linears.at(linear.name()).weight.codes));
  });
}

LoadedModel load_model(const fs::path& named, const CheckpointOptions& options) {
  const auto [path, name] = locate_model(named);
  std::error_code ignored;
  LoadedModel loaded;
  // By its content, or by its name: then load_igq says what is wrong with it.
  if (fs::is_regular_file(path, ignored) && (is_igq_file(path) || path.extension() == ".igq")) {
    if (!options.architecture.empty()) {
      fail("{} is quantized, --arch does not apply: quantize the float model again", path.string());
    }
    if (options.image_height != 0 || options.image_width != 0) {
      fail("{} is quantized for its image size, --img-size does not apply: quantize the float model again",
           path.string());
    }
    loaded = load_quantized(path);
  } else {
    Checkpoint checkpoint = open_checkpoint(path, options);
    loaded.model = build_model(checkpoint.config, *checkpoint.tensors);
    loaded.tensors = std::move(checkpoint.tensors);
  }
  loaded.name = name;  // of a hub model with the commit, which goes into the provenance of what is made of it
  return loaded;
}

LoadedModel random_model(const ModelConfig& config, std::uint64_t seed) {
  check_config(config);
  const auto tensors = std::make_shared<MemoryTensors>("random weights");
  for (const auto& [name, shape] : expected_tensors(config)) {
    Random random(seed ^ hash_bytes(std::as_bytes(std::span(name))));
    const Spread spread = spread_of(name, shape);
    const std::int64_t count = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    AlignedBuffer<float> values(static_cast<std::size_t>(count));
    for (float& v : values) v = spread.mean + spread.deviation * near_normal(random);
    tensors->add(name, shape, std::move(values));
  }
  LoadedModel loaded;
  loaded.model = build_model(config, *tensors);
  loaded.tensors = tensors;
  loaded.name = config.architecture;
  return loaded;
}

}  // namespace igq
