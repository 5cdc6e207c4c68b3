// Where a model's float tensors come from, whatever the file: safetensors, shards, an .igq file, random weights.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"

namespace igq {

using Shape = std::vector<std::int64_t>;

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Names and shapes of all tensors, in timm's naming by the time a model sees them.
  virtual const std::map<std::string, Shape>& shapes() const = 0;
  /// The tensor's values as float32, row major. Error when the name is unknown or the file is damaged.
  virtual AlignedBuffer<float> read(const std::string& name) const = 0;
  /// For error messages: the path it came from.
  virtual std::string origin() const = 0;

  /// Names of stored tensors that are no floating-point numbers, which read() cannot give: buffers, mostly.
  virtual std::vector<std::string> unread() const { return {}; }

  bool has(const std::string& name) const { return shapes().contains(name); }
  /// Whether the values are there too: a quantized detector's file keeps the shapes of weights that are codes.
  virtual bool holds(const std::string& name) const { return has(name); }
};

/// What tensors of these shapes take as float32. In double: files may claim any shapes.
inline double float_bytes(const std::map<std::string, Shape>& shapes) {
  double count = 0.0;
  for (const auto& [name, shape] : shapes) {
    double n = 1.0;
    for (const std::int64_t d : shape) n *= static_cast<double>(d);
    count += n;
  }
  return count * sizeof(float);
}

}  // namespace igq
