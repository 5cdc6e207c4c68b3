// ResNet v1.5 (He et al. 2016; torchvision's and timm's, stride in the 3x3) as a backbone, batch norms folded into the
// convolutions. Depths, widths and the kind of block (basic or bottleneck) come from the tensors.
#pragma once

#include <vector>

#include "models/layers.h"
#include "models/model.h"
#include "ops/conv2d.h"

namespace igq {

class ResNet {
 public:
  ResNet() = default;
  /// `builder`: names "conv1", "bn1", "layer1.0.conv1" ... With `dilated` the last stage keeps the map's size (DC5).
  ResNet(const ModelBuilder& builder, bool dilated);

  /// Channels of the last map.
  int channels() const;
  /// image [3, height, width] -> the maps of the four stages, finest first. No side of a map vanishes.
  void forward(ExecContext& context, const float* image, int height, int width, std::vector<FeatureMap>& maps) const;
  std::vector<Conv2d*> convs();

 private:
  struct Block {
    std::vector<Conv2d> convs;       // 2 or 3
    std::vector<Conv2d> downsample;  // of the shortcut: none or 1
  };
  void run_block(ExecContext& context, const Block& block, const float* x, MapGrid grid, float* y) const;

  Conv2d stem_;
  std::vector<std::vector<Block>> stages_;
};

}  // namespace igq
