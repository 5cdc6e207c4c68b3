// The names under which checkpoints store one and the same tensor, mapped to timm's current ones.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/tensor_source.h"
#include "models/config.h"

namespace igq {

/// The tensors of a checkpoint by timm's names; each is read from one stored tensor or made of several (query, key and
/// value become qkv).
class RenamedTensors final : public TensorSource {
 public:
  using Read = std::function<AlignedBuffer<float>(const TensorSource& stored)>;

  explicit RenamedTensors(std::shared_ptr<const TensorSource> stored) : stored_(std::move(stored)) {}
  void add(const std::string& name, std::string stored_name, Shape shape, Read read);
  /// Changes the values of a tensor that was added.
  void change(const std::string& name, std::function<void(AlignedBuffer<float>&)> change);

  const std::map<std::string, Shape>& shapes() const override { return shapes_; }
  /// Error when a value is not finite: such a checkpoint classifies nothing.
  AlignedBuffer<float> read(const std::string& name) const override;
  std::string origin() const override { return stored_->origin(); }
  /// Stored tensors that are not of a floating-point type, buffers of known names left out.
  std::vector<std::string> unread() const override;
  /// The name, or one of the names, in the file; for messages.
  const std::string& stored_name(const std::string& name) const { return entries_.at(name).stored_name; }

 private:
  struct Entry {
    std::string stored_name;
    Read read;
  };
  std::shared_ptr<const TensorSource> stored_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, Shape> shapes_;
};

/// Understands timm's names, those of older Swin checkpoints (downsample at the end of a stage, "head."), of DINOv2's
/// and DeiT-III's own releases and of transformers (up to 4 and, without its original format, 5), below prefixes such
/// as "model." and "module.". Buffers (attn_mask,
/// relative_position_index, position_ids) and what classification does not use (mask_token, pooler) are left out; names
/// that mean nothing here stay as they are. Tables of relative position bias are resized when the windows of `config`
/// are others. Error when two stored tensors get the same name.
std::shared_ptr<const RenamedTensors> rename_tensors(std::shared_ptr<const TensorSource> stored,
                                                     const ModelConfig& config);

}  // namespace igq
