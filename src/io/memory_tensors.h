// A TensorSource whose tensors lie in memory: what load_igq hands out, synthetic models, tests.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/fail.h"
#include "io/tensor_source.h"

namespace igq {

class MemoryTensors final : public TensorSource {
 public:
  explicit MemoryTensors(std::string origin) : origin_(std::move(origin)) {}

  /// `values` holds the product of `shape` values; an existing tensor of that name is replaced.
  void add(const std::string& name, Shape shape, AlignedBuffer<float> values) {
    shapes_[name] = std::move(shape);
    values_[name] = std::move(values);
  }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  AlignedBuffer<float> read(const std::string& name) const override {
    const auto found = values_.find(name);
    if (found == values_.end()) fail("{} has no tensor '{}'", origin_, name);
    return found->second;
  }
  std::string origin() const override { return origin_; }

 private:
  std::string origin_;
  std::map<std::string, Shape> shapes_;
  std::map<std::string, AlignedBuffer<float>> values_;
};

}  // namespace igq
