// Mask R-CNN (He et al. 2017) and Cascade Mask R-CNN (Cai and Vasconcelos 2018) with a Swin backbone, equal to
// mmdetection 3's: backbone -> pyramid -> proposals -> box heads -> NMS per class -> masks of what was found. Without
// mask heads it is Faster or Cascade R-CNN.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "detectors/detector.h"
#include "detectors/fpn.h"
#include "detectors/roi_heads.h"
#include "detectors/rpn.h"

namespace igq {

struct TwoStageConfig {
  std::string architecture;  ///< "MaskRCNN", "CascadeRCNN", ...
  ModelConfig backbone;
  std::vector<int> neck_channels = {96, 192, 384, 768};  ///< of the backbone's maps
  int channels = 256;                                    ///< of the pyramid
  int levels = 5;
  RpnConfig rpn;
  RoiConfig box_roi, mask_roi = {{4, 8, 16, 32}, 56.0f, 14};
  std::vector<BoxHeadConfig> box_heads;    ///< one per stage
  std::vector<MaskHeadConfig> mask_heads;  ///< none, or one per stage
  bool cascade = false;                    ///< heads are numbered in the names of tensors
  float score_threshold = 0.05f, iou_threshold = 0.5f, mask_threshold = 0.5f;
  int max_detections = 100;
  int classes = 80;
  std::vector<std::string> labels;
  // Preprocessing.
  int scale_long = 1333, scale_short = 800;
  std::array<float, 3> mean = {123.675f, 116.28f, 103.53f}, std = {58.395f, 57.12f, 57.375f};
  bool rgb = true;  ///< the network sees red first
  bool orientation = true;
  int pad_divisor = 32;
};

class TwoStage final : public Detector {
 public:
  TwoStage(TwoStageConfig config, const ModelBuilder& builder);

  /// What the stages computed, for those who look at it.
  struct Pass final : State {
    Image resized;
    int input_height = 0, input_width = 0;  ///< padded
    AlignedBuffer<float> input;             ///< [3, input_height, input_width]
    StepState backbone;                     ///< features: norm0 ... norm3
    std::vector<FeatureMap> pyramid, rpn_scores, rpn_deltas;
    Proposals proposals;
    struct Stage {
      std::vector<detection::Box> rois;
      AlignedBuffer<float> logits, deltas;  ///< [rois][classes + 1], [rois][4 classes or 4]
    };
    std::vector<Stage> stages;
    AlignedBuffer<float> logits;        ///< the mean over stages
    std::vector<detection::Box> boxes;  ///< of detections, in pixels of the resized picture
    std::vector<float> scores;
    std::vector<int> labels;
    std::vector<AlignedBuffer<float>> mask_logits;  ///< [detections][side][side] of every stage
    AlignedBuffer<float> mask_probabilities;
  };

  const TwoStageConfig& config() const { return config_; }
  std::unique_ptr<State> make_state() const override { return std::make_unique<Pass>(); }
  std::vector<Detection> detect(ExecContext& context, const Image& image, float threshold, State& state) const override;
  double divergence(ExecContext& context, int site, const State& exact, State& state) const override;
  bool has_masks() const override { return !mask_heads_.empty(); }
  float default_threshold() const override { return config_.score_threshold; }
  int category_id(int label) const override { return config_.classes == 80 ? coco_category_id(label) : label + 1; }
  std::array<int, 2> usual_size() const override { return {config_.scale_short, config_.scale_long}; }
  bool applies_orientation() const override { return config_.orientation; }

  // The stages of detect(), in this order; each reads what those before it left in `pass`.
  void preprocess(const Image& image, Pass& pass) const;
  void run_trunk(ExecContext& context, Pass& pass) const;  ///< backbone, pyramid, RPN
  /// From proposals.boxes to logits and deltas; the regions of later stages are those of `exact` where there is one.
  void run_box_heads(ExecContext& context, Pass& pass, const Pass* exact = nullptr) const;
  /// scale: of the resized picture, x and y; boxes are divided by it first where there are no masks.
  void select(float threshold, std::array<float, 2> scale, Pass& pass) const;
  void run_mask_heads(ExecContext& context, Pass& pass) const;

 private:
  void refine(const BoxHeadConfig& head, const Pass::Stage& stage, const Image& resized,
              std::vector<detection::Box>& boxes) const;

  TwoStageConfig config_;
  std::unique_ptr<Model> backbone_;
  Fpn neck_;
  Rpn rpn_;
  std::vector<BoxHead> box_heads_;
  std::vector<MaskHead> mask_heads_;
  int first_head_site_ = 0;  // what comes before: backbone, pyramid, RPN
};

}  // namespace igq
