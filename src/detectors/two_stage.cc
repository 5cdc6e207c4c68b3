#include "detectors/two_stage.h"

#include <algorithm>
#include <cmath>

#include "base/fail.h"
#include "detection/nms.h"
#include "detection/paste_mask.h"
#include "detectors/output_divergence.h"
#include "io/resize_opencv.h"
#include "models/swin.h"

namespace igq {
namespace {

// Regions that go through a float head together: their features stay small and the layers' weights are read seldom.
// Quantizers are those of a picture: where a layer is quantized, or watched for that, all regions go together.
constexpr std::size_t kBoxChunk = 256, kMaskChunk = 16;

std::size_t regions_together(const ExecContext& context, const Network& network, std::size_t chunk, std::size_t all) {
  const bool by_picture = context.observer != nullptr || network.plan() != nullptr || !context.site_execution.empty();
  return std::max<std::size_t>(1, by_picture ? all : std::min(chunk, all));
}

/// Softmax in double, rounded once.
void softmax_row(const float* logits, int count, float* out) {
  double largest = logits[0];
  for (int c = 1; c < count; ++c) largest = std::max(largest, static_cast<double>(logits[c]));
  double sum = 0.0;
  for (int c = 0; c < count; ++c) sum += std::exp(static_cast<double>(logits[c]) - largest);
  for (int c = 0; c < count; ++c) out[c] = static_cast<float>(std::exp(static_cast<double>(logits[c]) - largest) / sum);
}

template <typename T>
std::span<const T> part(const std::vector<T>& all, std::size_t begin, std::size_t count) {
  return std::span<const T>(all).subspan(begin, count);
}

}  // namespace

TwoStage::TwoStage(TwoStageConfig config, const ModelBuilder& builder)
    : Detector(config.architecture, config.labels), config_(std::move(config)) {
  backbone_ = std::make_unique<Swin>(config_.backbone, builder.part("backbone."));
  neck_ = Fpn(builder.part("neck."), config_.neck_channels, config_.channels, config_.levels);
  rpn_ = Rpn(builder.part("rpn_head."), config_.rpn);
  for (std::size_t i = 0; i < config_.box_heads.size(); ++i) {
    const std::string name = config_.cascade ? fmt::format("roi_head.bbox_head.{}.", i) : "roi_head.bbox_head.";
    box_heads_.emplace_back(builder.part(name), config_.box_heads[i], config_.channels, config_.box_roi.bins,
                            config_.classes);
  }
  for (std::size_t i = 0; i < config_.mask_heads.size(); ++i) {
    const std::string name = config_.cascade ? fmt::format("roi_head.mask_head.{}.", i) : "roi_head.mask_head.";
    mask_heads_.emplace_back(builder.part(name), config_.mask_heads[i], config_.channels, config_.mask_roi.bins,
                             config_.classes);
  }
  add_sites(*backbone_);
  for (Conv2d& conv : neck_.laterals()) add_site(conv);
  next_part();
  for (Conv2d& conv : neck_.convs()) add_site(conv);
  next_part();
  const std::vector<Conv2d*> rpn = rpn_.convs();
  for (Conv2d* conv : rpn) add_site(*conv, conv != rpn.front());
  first_head_site_ = static_cast<int>(sites().size());
  for (BoxHead& head : box_heads_) {
    next_part();
    for (Conv2d& conv : head.convs()) add_site(conv);
    for (Linear& linear : head.hidden()) add_site(linear);
    for (Linear* linear : head.outputs()) add_site(*linear, true);
  }
  for (MaskHead& head : mask_heads_) {
    next_part();
    for (Conv2d& conv : head.convs()) add_site(conv);
    add_site(head.upsample());
    add_site(head.output(), true);
  }
}

std::vector<Detection> TwoStage::detect(ExecContext& context, const Image& image, float threshold, State& state) const {
  const WorkTimer timer(context, Work::kOther);
  auto& pass = dynamic_cast<Pass&>(state);
  context.arena.reset();
  preprocess(image, pass);
  const std::array<float, 2> scale = {static_cast<float>(static_cast<double>(pass.resized.width) / image.width),
                                      static_cast<float>(static_cast<double>(pass.resized.height) / image.height)};
  run_trunk(context, pass);
  pass.proposals = rpn_.propose(pass.rpn_scores, pass.rpn_deltas, pass.resized.height, pass.resized.width);
  run_box_heads(context, pass);
  select(threshold, scale, pass);
  run_mask_heads(context, pass);

  std::vector<Detection> detections(pass.boxes.size());
  context.parallel_for(static_cast<std::int64_t>(detections.size()), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      Detection& d = detections[i];
      d.box = pass.boxes[i];
      d.score = pass.scores[i];
      d.label = pass.labels[i];
      if (mask_heads_.empty()) continue;
      d.box = {d.box.x1 / scale[0], d.box.y1 / scale[1], d.box.x2 / scale[0], d.box.y2 / scale[1]};
      const int side = mask_heads_.front().side();
      const float* mask = pass.mask_probabilities.data() + i * static_cast<std::size_t>(side * side);
      d.mask = detection::paste_mask_rle(mask, side, d.box, image.height, image.width, config_.mask_threshold);
    }
  });
  return detections;
}

double TwoStage::divergence(ExecContext& context, int site, const State& exact_state, State& state) const {
  const auto& exact = dynamic_cast<const Pass&>(exact_state);
  auto& pass = dynamic_cast<Pass&>(state);
  context.arena.reset();
  const auto values = [](const AlignedBuffer<float>& buffer) {
    return std::span<const float>(buffer.data(), buffer.size());
  };
  OutputDivergence divergence;
  if (site < first_head_site_) {
    pass.input = exact.input;
    pass.input_height = exact.input_height;
    pass.input_width = exact.input_width;
    run_trunk(context, pass);
    for (std::size_t level = 0; level < exact.rpn_scores.size(); ++level)
      divergence.add_objectness(values(exact.rpn_scores[level].values), values(pass.rpn_scores[level].values),
                                values(exact.rpn_deltas[level].values), values(pass.rpn_deltas[level].values));
    divergence.end_stage();
  } else {
    pass.pyramid = exact.pyramid;
  }
  pass.resized = {};
  pass.proposals = exact.proposals;
  run_box_heads(context, pass, &exact);
  for (std::size_t s = 0; s < pass.stages.size(); ++s) {
    const Pass::Stage &a = exact.stages[s], &b = pass.stages[s];
    divergence.add_classes(values(a.logits), values(b.logits), static_cast<std::size_t>(config_.classes + 1),
                           values(a.deltas), values(b.deltas));
    divergence.end_stage();
  }
  pass.boxes = exact.boxes;
  pass.labels = exact.labels;
  run_mask_heads(context, pass);
  for (std::size_t s = 0; s < pass.mask_logits.size(); ++s)
    divergence.add_masks(values(exact.mask_logits[s]), values(pass.mask_logits[s]));
  divergence.end_stage();
  return divergence.result();
}

void TwoStage::preprocess(const Image& image, Pass& pass) const {
  const ImageSize size =
      keep_ratio_size({image.height, image.width}, config_.scale_long, config_.scale_short, "the picture");
  pass.resized = resize_opencv(image, size.width, size.height);
  if (!config_.rgb)
    for (std::size_t i = 0; i < pass.resized.rgb.size(); i += 3)
      std::swap(pass.resized.rgb[i], pass.resized.rgb[i + 2]);
  pass.input_height = padded_to(size.height, config_.pad_divisor);
  pass.input_width = padded_to(size.width, config_.pad_divisor);
  pass.input.resize(std::size_t{3} * static_cast<std::size_t>(pass.input_height) *
                    static_cast<std::size_t>(pass.input_width));
  normalize_padded(pass.resized, config_.mean, config_.std, pass.input_height, pass.input_width, pass.input.data());
}

void TwoStage::run_trunk(ExecContext& context, Pass& pass) const {
  pass.backbone.image_height = pass.input_height;
  pass.backbone.image_width = pass.input_width;
  backbone_->forward(context, pass.input.data(), pass.backbone);
  neck_.forward(context, pass.backbone.features, pass.pyramid);
  rpn_.forward(context, pass.pyramid, pass.rpn_scores, pass.rpn_deltas);
}

void TwoStage::run_box_heads(ExecContext& context, Pass& pass, const Pass* exact) const {
  const std::size_t rois = pass.proposals.boxes.size();
  const int pooled = config_.box_roi.bins * config_.box_roi.bins * config_.channels;
  const auto logits = static_cast<std::size_t>(config_.classes + 1);
  pass.stages.resize(box_heads_.size());
  pass.logits.resize_zero(rois * logits);
  for (std::size_t s = 0; s < box_heads_.size(); ++s) {
    const ArenaScope scope(context.arena);
    const BoxHead& head = box_heads_[s];
    Pass::Stage& stage = pass.stages[s];
    if (s == 0)
      stage.rois = pass.proposals.boxes;
    else if (exact != nullptr)
      stage.rois = exact->stages[s].rois;
    else
      refine(config_.box_heads[s - 1], pass.stages[s - 1], pass.resized, stage.rois);
    const auto deltas = static_cast<std::size_t>(head.deltas());
    stage.logits.resize(rois * logits);
    stage.deltas.resize(rois * deltas);
    const std::size_t together = regions_together(context, *this, kBoxChunk, rois);
    float* features = context.arena.take<float>(together * static_cast<std::size_t>(pooled));
    for (std::size_t begin = 0; begin < rois; begin += together) {
      const std::size_t count = std::min(together, rois - begin);
      pool_rois(context, pass.pyramid, config_.box_roi, part(stage.rois, begin, count), features);
      head.forward(context, features, static_cast<int>(count), stage.logits.data() + begin * logits,
                   stage.deltas.data() + begin * deltas);
    }
  }
  const auto stages = static_cast<float>(box_heads_.size());
  for (std::size_t i = 0; i < pass.logits.size(); ++i) {
    float sum = pass.stages.front().logits[i];
    for (std::size_t s = 1; s < pass.stages.size(); ++s) sum += pass.stages[s].logits[i];
    pass.logits[i] = sum / stages;
  }
}

/// The boxes of the next stage: each decoded with the deltas of its best class other than background.
void TwoStage::refine(const BoxHeadConfig& head, const Pass::Stage& stage, const Image& resized,
                      std::vector<detection::Box>& boxes) const {
  const auto classes = static_cast<std::size_t>(config_.classes), boxes_each = head.class_agnostic ? 1 : classes;
  boxes.resize(stage.rois.size());
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const float* logits = stage.logits.data() + i * (classes + 1);
    const auto best = static_cast<std::size_t>(std::max_element(logits, logits + classes) - logits);
    const float* deltas = stage.deltas.data() + (i * boxes_each + (head.class_agnostic ? 0 : best)) * 4;
    boxes[i] = detection::decode_delta(head.coder, stage.rois[i], deltas, static_cast<float>(resized.width),
                                       static_cast<float>(resized.height));
  }
}

void TwoStage::select(float threshold, std::array<float, 2> scale, Pass& pass) const {
  const BoxHeadConfig& head = config_.box_heads.back();
  const Pass::Stage& stage = pass.stages.back();
  const auto classes = static_cast<std::size_t>(config_.classes), boxes_each = head.class_agnostic ? 1 : classes;
  std::vector<float> probabilities(classes + 1), scores;
  std::vector<detection::Box> boxes;
  std::vector<int> labels;
  for (std::size_t i = 0; i < stage.rois.size(); ++i) {
    softmax_row(pass.logits.data() + i * (classes + 1), config_.classes + 1, probabilities.data());
    for (std::size_t c = 0; c < classes; ++c) {
      if (!(probabilities[c] > threshold)) continue;
      const float* deltas = stage.deltas.data() + (i * boxes_each + (head.class_agnostic ? 0 : c)) * 4;
      detection::Box box =
          detection::decode_delta(head.coder, stage.rois[i], deltas, static_cast<float>(pass.resized.width),
                                  static_cast<float>(pass.resized.height));
      if (mask_heads_.empty()) box = {box.x1 / scale[0], box.y1 / scale[1], box.x2 / scale[0], box.y2 / scale[1]};
      boxes.push_back(box);
      scores.push_back(probabilities[c]);
      labels.push_back(static_cast<int>(c));
    }
  }
  pass.boxes.clear();
  pass.scores.clear();
  pass.labels.clear();
  if (boxes.empty()) return;
  const std::vector<int> kept = detection::batched_nms(
      boxes, scores, labels, config_.iou_threshold,
      config_.max_detections > 0 ? static_cast<std::size_t>(config_.max_detections) : detection::kKeepAll);
  for (const int i : kept) {
    pass.boxes.push_back(boxes[static_cast<std::size_t>(i)]);
    pass.scores.push_back(scores[static_cast<std::size_t>(i)]);
    pass.labels.push_back(labels[static_cast<std::size_t>(i)]);
  }
}

void TwoStage::run_mask_heads(ExecContext& context, Pass& pass) const {
  pass.mask_logits.resize(mask_heads_.size());
  if (mask_heads_.empty()) return;
  const ArenaScope scope(context.arena);
  const std::size_t count = pass.boxes.size();
  const auto pooled = static_cast<std::size_t>(config_.mask_roi.bins * config_.mask_roi.bins * config_.channels);
  const auto area = static_cast<std::size_t>(mask_heads_.front().side() * mask_heads_.front().side());
  for (AlignedBuffer<float>& logits : pass.mask_logits) logits.resize(count * area);
  const std::size_t together = regions_together(context, *this, kMaskChunk, count);
  float* features = context.arena.take<float>(together * pooled);
  for (std::size_t begin = 0; begin < count; begin += together) {
    const std::size_t taken = std::min(together, count - begin);
    pool_rois(context, pass.pyramid, config_.mask_roi, part(pass.boxes, begin, taken), features);
    for (std::size_t s = 0; s < mask_heads_.size(); ++s)
      mask_heads_[s].forward(context, features, part(pass.labels, begin, taken),
                             pass.mask_logits[s].data() + begin * area);
  }
  pass.mask_probabilities.resize(count * area);
  const auto stages = static_cast<float>(mask_heads_.size());
  for (std::size_t i = 0; i < count * area; ++i) {
    float sum = sigmoid(pass.mask_logits.front()[i]);
    for (std::size_t s = 1; s < mask_heads_.size(); ++s) sum += sigmoid(pass.mask_logits[s][i]);
    pass.mask_probabilities[i] = sum / stages;
  }
}

}  // namespace igq
