// The heads on regions of interest of Mask R-CNN (He et al. 2017, figure 4) and Cascade R-CNN (Cai and Vasconcelos
// 2018): RoIAlign, convolutions and fully connected layers to classes and box deltas; convolutions to masks.
#pragma once

#include <span>
#include <vector>

#include "detection/box.h"
#include "detection/deltas.h"
#include "models/layers.h"
#include "models/model.h"
#include "ops/conv2d.h"

namespace igq {

/// Where regions are pooled from (mmdet's SingleRoIExtractor).
struct RoiConfig {
  std::vector<int> strides = {4, 8, 16, 32};
  float finest_scale = 56.0f;
  int bins = 7;
};

struct BoxHeadConfig {
  int convs = 0, conv_channels = 256;  ///< 3x3
  bool batch_norm = false;             ///< after them; they have no bias then
  int fcs = 2, fc_channels = 1024;
  bool class_agnostic = false;  ///< one box for all classes
  detection::DeltaCoder coder = {{}, {0.1f, 0.1f, 0.2f, 0.2f}};
};

struct MaskHeadConfig {
  int convs = 4, channels = 256;
  bool class_agnostic = false;
};

/// RoIAlign of every box from the level that fits it: [boxes][bins][bins][channels].
void pool_rois(ExecContext& context, std::span<const FeatureMap> pyramid, const RoiConfig& config,
               std::span<const detection::Box> boxes, float* out);

class BoxHead {
 public:
  BoxHead() = default;
  /// `builder` is that of the head's part; in_channels and bins are those of the pooled regions.
  BoxHead(const ModelBuilder& builder, const BoxHeadConfig& config, int in_channels, int bins, int classes);

  const BoxHeadConfig& config() const { return config_; }
  /// Class logits, background last.
  int logits() const { return cls_.out_features(); }
  int deltas() const { return reg_.out_features(); }
  /// features [rois][bins][bins][in_channels] -> logits [rois][logits()], deltas [rois][deltas()].
  void forward(ExecContext& context, const float* features, int rois, float* logits, float* deltas) const;
  std::vector<Conv2d>& convs() { return convs_; }
  /// The layers between the pooled regions and the outputs.
  std::vector<Linear>& hidden() { return fcs_; }
  std::vector<Linear*> outputs() { return {&cls_, &reg_}; }

 private:
  BoxHeadConfig config_;
  int bins_ = 0;
  std::vector<Conv2d> convs_;
  std::vector<Linear> fcs_;
  Linear cls_, reg_;
};

class MaskHead {
 public:
  MaskHead() = default;
  MaskHead(const ModelBuilder& builder, const MaskHeadConfig& config, int in_channels, int bins, int classes);

  /// Rows and columns of a mask.
  int side() const { return 2 * bins_; }
  /// features [rois][bins][bins][in_channels] -> the logits of each region's label, [rois][side][side].
  void forward(ExecContext& context, const float* features, std::span<const int> labels, float* logits) const;
  std::vector<Conv2d>& convs() { return convs_; }
  Linear& upsample() { return upsample_; }
  Linear& output() { return logits_; }

 private:
  MaskHeadConfig config_;
  int bins_ = 0;
  std::vector<Conv2d> convs_;
  // The transposed convolution of kernel 2 and stride 2: every pixel gives a 2x2 block, outputs (dy, dx, channel).
  Linear upsample_;
  Linear logits_;  // a 1x1 convolution
};

}  // namespace igq
