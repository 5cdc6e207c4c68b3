// A TensorSource that answers from a first source where it has a tensor and from a second one otherwise: new biases
// over a checkpoint, float weights behind a quantized model.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "io/tensor_source.h"

namespace igq {

class OverlaidTensors final : public TensorSource {
 public:
  /// `hidden`: tensors of the second source that are left out.
  OverlaidTensors(std::shared_ptr<const TensorSource> first, std::shared_ptr<const TensorSource> second,
                  const std::set<std::string>& hidden = {})
      : first_(std::move(first)), second_(std::move(second)), shapes_(second_->shapes()) {
    for (const std::string& name : hidden) shapes_.erase(name);
    for (const auto& [name, shape] : first_->shapes()) shapes_[name] = shape;
  }
  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  AlignedBuffer<float> read(const std::string& name) const override {
    return first_->has(name) ? first_->read(name) : second_->read(name);
  }
  std::string origin() const override { return second_->origin(); }

 private:
  std::shared_ptr<const TensorSource> first_, second_;
  std::map<std::string, Shape> shapes_;
};

}  // namespace igq
