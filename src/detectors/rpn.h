// Region proposal network (Ren et al. 2015; mmdet's RPNHead): an objectness and a box for every anchor of every level,
// the best of which become proposals.
#pragma once

#include <span>
#include <vector>

#include "detection/box.h"
#include "detection/deltas.h"
#include "models/layers.h"
#include "models/model.h"
#include "ops/conv2d.h"

namespace igq {

struct RpnConfig {
  int in_channels = 256, channels = 256;
  std::vector<float> scales = {8.0f}, ratios = {0.5f, 1.0f, 2.0f};
  std::vector<int> strides = {4, 8, 16, 32, 64};
  detection::DeltaCoder coder;
  int nms_pre = 1000;  ///< candidates of a level; 0: all
  int max_proposals = 1000;
  float iou_threshold = 0.7f;
  float min_size = 0.0f;  ///< proposals must be wider and higher than this, in pixels of the input

  int anchors() const { return static_cast<int>(scales.size() * ratios.size()); }
};

struct Proposals {
  std::vector<detection::Box> boxes;  ///< in pixels of the resized picture, best first
  std::vector<float> scores;
};

class Rpn {
 public:
  Rpn() = default;
  /// `builder` is that of the part "rpn_head.".
  Rpn(const ModelBuilder& builder, RpnConfig config);

  const RpnConfig& config() const { return config_; }
  /// Logits [h, w, anchors] and deltas [h, w, 4 anchors] of every level.
  void forward(ExecContext& context, std::span<const FeatureMap> pyramid, std::vector<FeatureMap>& scores,
               std::vector<FeatureMap>& deltas) const;
  /// The proposals within a picture of width x height pixels.
  Proposals propose(std::span<const FeatureMap> scores, std::span<const FeatureMap> deltas, int height,
                    int width) const;
  std::vector<Conv2d*> convs() { return {&conv_, &scores_, &deltas_}; }

 private:
  RpnConfig config_;
  Conv2d conv_, scores_, deltas_;
};

/// 1 / (1 + exp(-x)), rounded once: the same on every instruction set.
float sigmoid(float x);

}  // namespace igq
