// The published detectors by name: mmdetection's and the Swin authors' configurations, completed by the tensors.
#include <algorithm>
#include <array>

#include "base/fail.h"
#include "detectors/mmdet_config.h"

namespace igq {

std::vector<std::string> two_stage_names() {
  std::vector<std::string> names;
  for (const char* family : {"cascade_mask_rcnn", "mask_rcnn"})
    for (const char* size : {"b", "s", "t"}) names.push_back(fmt::format("{}_swin_{}_fpn", family, size));
  for (const char* name :
       {"mask-rcnn_swin-t-p4-w7_fpn_1x_coco", "mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco",
        "mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco", "mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco"})
    names.emplace_back(name);
  return names;
}

std::optional<TwoStageConfig> named_two_stage(const std::string& name, const TensorSource& tensors) {
  const std::vector<std::string> known = two_stage_names();
  if (std::find(known.begin(), known.end(), name) == known.end()) return std::nullopt;
  TwoStageConfig config;
  config.cascade = name.starts_with("cascade");
  config.architecture = config.cascade ? "CascadeRCNN" : "MaskRCNN";
  SwinConfig& s = config.backbone.swin;
  const char size = name[name.find("swin") + 5];
  if (size != 't') s.depths = {2, 2, 18, 2};
  if (size == 'b') {
    s.embed_dim = 128;
    s.num_heads = {4, 8, 16, 32};
  }
  for (std::size_t i = 0; i < 4; ++i) config.neck_channels[i] = s.embed_dim << i;

  const auto size_of = [&](const std::string& tensor, std::size_t dimension) {
    const auto it = tensors.shapes().find(tensor);
    if (it == tensors.shapes().end() || it->second.size() <= dimension)
      fail("{}: tensor '{}' is missing: are these the weights of {}?", tensors.origin(), tensor, name);
    return static_cast<int>(std::clamp<std::int64_t>(it->second[dimension], 0, 1 << 20));
  };
  const auto rows = [&](const std::string& tensor) { return size_of(tensor, 0); };
  const auto count = [&](const std::string& format) {
    int n = 0;
    while (n < 64 && tensors.has(fmt::format(fmt::runtime(format), n))) ++n;
    return n;
  };
  const std::array<std::array<float, 4>, 3> stds = {
      {{0.1f, 0.1f, 0.2f, 0.2f}, {0.05f, 0.05f, 0.1f, 0.1f}, {0.033f, 0.033f, 0.067f, 0.067f}}};
  for (std::size_t i = 0; i < (config.cascade ? 3u : 1u); ++i) {
    const std::string stage = config.cascade ? fmt::format(".{}.", i) : ".";
    const std::string box = "roi_head.bbox_head" + stage, mask = "roi_head.mask_head" + stage;
    config.classes = rows(box + "fc_cls.weight") - 1;
    if (config.classes < 1) fail("{}: '{}fc_cls.weight' has no class", tensors.origin(), box);
    BoxHeadConfig head;
    head.convs = count(box + "shared_convs.{}.conv.weight");
    head.fcs = count(box + "shared_fcs.{}.weight");
    head.batch_norm = tensors.has(box + "shared_convs.0.bn.weight");
    if (head.convs > 0) head.conv_channels = rows(box + "shared_convs.0.conv.weight");
    if (head.fcs > 0) head.fc_channels = rows(box + "shared_fcs.0.weight");
    head.class_agnostic = rows(box + "fc_reg.weight") == 4 && config.classes > 1;
    head.coder.stds = stds[i];
    config.box_heads.push_back(head);
    MaskHeadConfig masks;
    masks.convs = count(mask + "convs.{}.conv.weight");
    masks.channels = size_of(mask + "upsample.weight", 1);  // [in][out][2][2]; codes have other biases
    masks.class_agnostic = rows(mask + "conv_logits.weight") == 1 && config.classes > 1;
    config.mask_heads.push_back(masks);
  }
  config.channels = rows("neck.fpn_convs.0.conv.weight");
  config.rpn.in_channels = config.channels;
  config.rpn.channels = rows("rpn_head.rpn_conv.weight");
  if (config.classes == 80) config.labels = coco_class_names();
  finish_config(config);
  return config;
}

}  // namespace igq
