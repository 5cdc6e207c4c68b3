// Feature pyramid network (Lin et al. 2017, figure 3; mmdet's FPN): laterals 1x1, top-down sums with nearest
// upsampling, outputs 3x3, coarser levels by every second row and column.
#pragma once

#include <span>
#include <vector>

#include "models/layers.h"
#include "models/model.h"
#include "ops/conv2d.h"

namespace igq {

class Fpn {
 public:
  Fpn() = default;
  /// `builder` is that of the part "neck.". in_channels: of the maps, finest first; `outputs` levels of `channels`.
  Fpn(const ModelBuilder& builder, std::span<const int> in_channels, int channels, int outputs);

  /// maps: one per lateral, finest first. pyramid becomes `outputs` maps, "P2" first.
  void forward(ExecContext& context, std::span<const FeatureMap> maps, std::vector<FeatureMap>& pyramid) const;

  std::vector<Conv2d>& laterals() { return laterals_; }
  std::vector<Conv2d>& convs() { return convs_; }

 private:
  std::vector<Conv2d> laterals_, convs_;
  int channels_ = 0, outputs_ = 0;
};

}  // namespace igq
