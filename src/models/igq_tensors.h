// The tensors of an .igq file: weights as codes, and what stays float (docs/format.md, "Tensors").
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/igq_container.h"
#include "io/tensor_source.h"
#include "models/plan_json.h"
#include "quant/plan.h"

namespace igq {

/// The oldest format version that can hold the plan of a classifier or an encoder.
std::uint32_t version_for(const QuantizationPlan& plan);

/// The tensors of a file about to be written, with the memory of those that were made for it.
class TensorList {
 public:
  /// Error when a code does not fit its bits.
  void add_codes(const std::string& site, const WeightPlan& weight);
  void add_floats(const std::string& name, const TensorSource& source);
  const std::vector<TensorToStore>& entries() const { return entries_; }

 private:
  void add_bytes(std::string name, StoredType type, Shape shape, int bits, std::span<const std::byte> bytes);
  void add_packed(std::string name, Shape shape, std::span<const std::int8_t> codes, int bits);
  void add_grouped(const std::string& site, const WeightPlan& weight);

  std::vector<TensorToStore> entries_;
  std::vector<AlignedBuffer<std::byte>> packed_;  // moving a buffer keeps its address
  std::vector<AlignedBuffer<float>> floats_;
};

/// Runs `body` and puts the path in front of faults found in what a container holds.
void reading(const std::filesystem::path& path, const std::function<void()>& body);

/// Matches the container's tensors with the plan before anything is read; what is left over are the float tensors.
class TensorLoader {
 public:
  /// Error (without a path) when plan and tensors do not belong together. `plan` and the container must outlive the
  /// loader.
  TensorLoader(const ContainerReader& container, std::filesystem::path path,
               const std::map<std::string, WeightShape>& shapes, QuantizationPlan& plan);

  const std::map<std::string, Shape>& float_shapes() const { return float_shapes_; }
  /// Fills the plan's weights and returns the float tensors, largest first. Error for numbers that are not finite.
  std::shared_ptr<const TensorSource> read(const std::string& origin);

 private:
  /// One tensor, or those of one weight, to be read.
  struct Job {
    std::uint64_t size;
    std::function<void()> read;
  };
  AlignedBuffer<float> finite(const StoredTensor& tensor) const;
  const StoredTensor* take(const std::string& name, StoredType type, const Shape& shape, int bits);
  void add_weight(const std::string& site, const WeightShape& shape, WeightPlan& weight);
  void add_grouped(const std::string& site, const WeightShape& shape, WeightPlan& weight, const StoredTensor* codes,
                   const StoredTensor* scale);

  const ContainerReader& container_;
  const std::filesystem::path path_;  // for messages
  std::set<std::string> used_;
  std::vector<std::pair<const StoredTensor*, AlignedBuffer<float>>> floats_;
  std::map<std::string, Shape> float_shapes_;
  std::vector<Job> jobs_;
};

}  // namespace igq
