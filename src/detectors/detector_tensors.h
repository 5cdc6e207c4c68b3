// The tensors of detectors' checkpoints by one set of names, whichever project wrote them, and a check that all of them
// are used.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "io/tensor_source.h"

namespace igq {

/// Passes tensors on and notes which were asked for, so that a network that leaves some unread is noticed.
class WatchedTensors final : public TensorSource {
 public:
  explicit WatchedTensors(std::shared_ptr<const TensorSource> tensors) : tensors_(std::move(tensors)) {}
  const std::map<std::string, Shape>& shapes() const override { return tensors_->shapes(); }
  AlignedBuffer<float> read(const std::string& name) const override;
  bool holds(const std::string& name) const override { return tensors_->holds(name); }
  std::string origin() const override { return tensors_->origin(); }
  /// Names of all that were read.
  std::set<std::string> names_read() const;
  /// Error naming tensors that nobody read: the network is another than its configuration says.
  void check_all_read() const;

 private:
  std::shared_ptr<const TensorSource> tensors_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> read_;
};

/// mmdetection's state dict, or that of the Swin authors' repository ("backbone.layers."): the backbone by timm's names
/// below "backbone.", everything else as it is. mmdetection's patch merging (nn.Unfold's order: channels outside)
/// becomes the official one: official[k * C + c] = mmdet[c * 4 + p(k)], p = 0, 2, 1, 3. Left out: buffers, averaged
/// copies of a training run (ema_). Error when two tensors get the same name.
std::shared_ptr<const TensorSource> mmdet_tensors(std::shared_ptr<const TensorSource> stored);

/// transformers' YOLOS: the ViT by timm's names below "vit.", query, key and value as one.
std::shared_ptr<const TensorSource> yolos_tensors(std::shared_ptr<const TensorSource> stored);

/// transformers' DETR: the ResNet by torchvision's and timm's names below "backbone." ("conv1", "bn1",
/// "layer1.0.conv1" ...), everything else as it is.
std::shared_ptr<const TensorSource> detr_tensors(std::shared_ptr<const TensorSource> stored);

}  // namespace igq
