// Models with random weights, for tests that need no trained one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/random.h"
#include "io/memory_tensors.h"
#include "models/model.h"

namespace igq::test {

/// Adds a tensor whose values come one after the other from value().
template <typename Value>
void add_tensor(MemoryTensors& tensors, const std::string& name, Shape shape, Value&& value) {
  std::int64_t count = 1;
  for (const std::int64_t d : shape) count *= d;
  AlignedBuffer<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = value();
  tensors.add(name, std::move(shape), std::move(values));
}

/// Uniform values from -0.5 to 0.5.
inline void add_random(MemoryTensors& tensors, const std::string& name, Shape shape, Random& random) {
  add_tensor(tensors, name, std::move(shape), [&] { return static_cast<float>(random.uniform()) - 0.5f; });
}

/// The network of `config`; values of a tensor come from value(name, shape, random).
template <typename Value>
std::unique_ptr<Model> random_model(const ModelConfig& config, std::uint64_t seed, Value&& value) {
  Random random(seed);
  MemoryTensors tensors("random");
  for (const auto& [name, shape] : expected_tensors(config))
    add_tensor(tensors, name, shape, [&, &name = name, &shape = shape] { return value(name, shape, random); });
  return build_model(config, tensors);
}

}  // namespace igq::test
