#include "detectors/mmdet_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "detectors/config_node.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr int kMaxChannels = 1 << 16, kMaxSide = 1 << 16, kMaxCount = 1 << 24;

void read_backbone(const ConfigNode& node, TwoStageConfig& config) {
  node.type({"SwinTransformer"});
  ModelConfig& model = config.backbone;
  SwinConfig& s = model.swin;
  s.embed_dim = node.integer(node.has("embed_dims") ? "embed_dims" : "embed_dim", 96, 1, kMaxChannels);
  s.depths = node.integers("depths", {2, 2, 6, 2}, 1, 1024);
  s.num_heads = node.integers("num_heads", {3, 6, 12, 24}, 1, 4096);
  const int window = node.integer("window_size", 7, 1, 32);
  s.window_size = {window, window};
  s.mlp_ratio = node.number("mlp_ratio", 4.0f, 0.01f, 64.0f);
  s.patch_size = node.integer("patch_size", 4, 1, 64);
  s.qkv_bias = node.flag("qkv_bias", true);
  model.in_channels = node.integer("in_channels", node.integer("in_chans", 3, 3, 3), 3, 3);
  node.only("qk_scale", nullptr);
  node.only("patch_norm", true);
  node.only("use_abs_pos_embed", false);
  node.only("ape", false);
  node.only("output_missing_index_as_none", false);
  if (node.has("norm_cfg")) node.at("norm_cfg").only("type", "LN");
  if (node.has("act_cfg")) node.at("act_cfg").only("type", "GELU");
  if (s.depths.size() != s.num_heads.size())
    fail("'{}' and '{}' have different lengths", node.name_of("depths"), node.name_of("num_heads"));
  std::vector<int> all(s.depths.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  node.only("out_indices", all);
  if (node.has("strides")) {
    std::vector<int> strides(all.size(), 2);
    strides[0] = s.patch_size;
    node.only("strides", strides);
  }
}

void read_neck(const ConfigNode& node, TwoStageConfig& config) {
  node.type({"FPN"});
  config.channels = node.integer("out_channels", 256, 1, kMaxChannels);
  config.levels = node.integer("num_outs", 5, 1, 16);
  std::vector<int> channels;
  for (std::size_t i = 0; i < config.backbone.swin.depths.size(); ++i)
    channels.push_back(config.backbone.swin.embed_dim << i);
  if (node.integers("in_channels", channels, 1, kMaxChannels) != channels)
    fail("'{}' are not the channels of the backbone, {}", node.name_of("in_channels"), fmt::join(channels, ", "));
  config.neck_channels = channels;
  if (config.levels < static_cast<int>(channels.size()))
    fail("'{}' is {}, there are {} maps", node.name_of("num_outs"), config.levels, channels.size());
  node.only("start_level", 0);
  node.only("end_level", -1);
  node.only("add_extra_convs", false);
  node.only("relu_before_extra_convs", false);
  node.only("no_norm_on_lateral", false);
  for (const char* key : {"conv_cfg", "norm_cfg", "act_cfg"}) node.only(key, nullptr);
  if (node.has("upsample_cfg")) node.only("upsample_cfg", {{"mode", "nearest"}});
}

detection::DeltaCoder read_coder(const ConfigNode& head, std::array<float, 4> stds) {
  detection::DeltaCoder coder;
  coder.stds = stds;
  if (!head.has("bbox_coder")) return coder;
  const ConfigNode node = head.at("bbox_coder");
  node.type({"DeltaXYWHBBoxCoder"});
  node.only("clip_border", true);
  node.only("add_ctr_clamp", false);
  coder.means = node.numbers("target_means", coder.means);
  coder.stds = node.numbers("target_stds", stds);
  return coder;
}

float read_nms(const ConfigNode& node, const char* older, float otherwise) {
  if (!node.has("nms")) return node.number(older, otherwise, 0.0f, 1.0f);
  const ConfigNode nms = node.at("nms");
  nms.only("type", "nms");
  nms.only("class_agnostic", false);
  nms.only("split_thr", 10000);
  return nms.number("iou_threshold", nms.number("iou_thr", otherwise, 0.0f, 1.0f), 0.0f, 1.0f);
}

void read_rpn(const ConfigNode& node, const ConfigNode& test, TwoStageConfig& config) {
  node.type({"RPNHead"});
  RpnConfig& rpn = config.rpn;
  rpn.in_channels = node.integer("in_channels", config.channels, 1, kMaxChannels);
  if (rpn.in_channels != config.channels)
    fail("'{}' is {}, the pyramid has {} channels", node.name_of("in_channels"), rpn.in_channels, config.channels);
  rpn.channels = node.integer("feat_channels", 256, 1, kMaxChannels);
  node.only("num_convs", 1);
  node.only("reg_decoded_bbox", false);
  if (node.has("loss_cls")) node.at("loss_cls").only("use_sigmoid", true);
  const ConfigNode anchors = node.at("anchor_generator");
  anchors.type({"AnchorGenerator"});
  rpn.scales = anchors.numbers("scales", rpn.scales);
  rpn.ratios = anchors.numbers("ratios", rpn.ratios);
  rpn.strides = anchors.integers("strides", rpn.strides, 1, kMaxSide);
  for (const char* key : {"base_sizes", "centers", "octave_base_scale", "scales_per_octave"})
    anchors.only(key, nullptr);
  anchors.only("scale_major", true);
  anchors.only("center_offset", 0.0);
  anchors.only("use_box_type", false);
  for (const std::vector<float>* values : {&rpn.scales, &rpn.ratios})
    if (values->empty() || values->size() > 16 || *std::min_element(values->begin(), values->end()) <= 0.0f)
      fail("'{}': scales and ratios must be 1 to 16 positive numbers", anchors.path());
  if (static_cast<int>(rpn.strides.size()) != config.levels)
    fail("'{}' has {} strides, the pyramid {} levels", anchors.path(), rpn.strides.size(), config.levels);
  rpn.coder = read_coder(node, {1.0f, 1.0f, 1.0f, 1.0f});
  rpn.nms_pre = test.integer("nms_pre", 1000, -1, kMaxCount);
  rpn.max_proposals = test.integer("max_per_img", test.integer("max_num", 1000, 1, kMaxCount), 1, kMaxCount);
  rpn.iou_threshold = read_nms(test, "nms_thr", 0.7f);
  rpn.min_size = test.number("min_bbox_size", 0.0f, 0.0f, 1e6f);
  test.only("nms_across_levels", false);
}

RoiConfig read_roi(const ConfigNode& node, const TwoStageConfig& config, int bins) {
  node.type({"SingleRoIExtractor"});
  RoiConfig roi;
  roi.bins = bins;
  roi.strides = node.integers("featmap_strides", roi.strides, 1, kMaxSide);
  roi.finest_scale = node.number("finest_scale", 56.0f, 1e-3f, 1e6f);
  if (roi.strides.empty() || static_cast<int>(roi.strides.size()) > config.levels)
    fail("'{}' must have 1 to {} entries", node.name_of("featmap_strides"), config.levels);
  if (node.integer("out_channels", config.channels, 1, kMaxChannels) != config.channels)
    fail("'{}' is not the pyramid's {}", node.name_of("out_channels"), config.channels);
  if (!node.has("roi_layer")) return roi;
  const ConfigNode layer = node.at("roi_layer");
  layer.type({"RoIAlign"});
  layer.only("sampling_ratio", 0);
  layer.only("aligned", true);
  layer.only("pool_mode", "avg");
  roi.bins = layer.integer("output_size", bins, 1, 64);
  return roi;
}

BoxHeadConfig read_box_head(const ConfigNode& node, const TwoStageConfig& config) {
  node.type({"Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead", "ConvFCBBoxHead"});
  const std::string type = node.text("type", "");
  BoxHeadConfig head;
  head.convs = node.integer("num_shared_convs", type == "Shared4Conv1FCBBoxHead" ? 4 : 0, 0, 64);
  head.fcs = node.integer("num_shared_fcs", type == "Shared2FCBBoxHead" ? 2 : type == "ConvFCBBoxHead" ? 0 : 1, 0, 64);
  head.conv_channels = node.integer("conv_out_channels", 256, 1, kMaxChannels);
  head.fc_channels = node.integer("fc_out_channels", 1024, 1, kMaxChannels);
  for (const char* key : {"num_cls_convs", "num_cls_fcs", "num_reg_convs", "num_reg_fcs"}) node.only(key, 0);
  node.only("with_avg_pool", false);
  node.only("conv_cfg", nullptr);
  if (node.has("norm_cfg")) {
    node.at("norm_cfg").type({"SyncBN", "BN", "BN2d", "MMSyncBN"});
    head.batch_norm = true;
  }
  head.class_agnostic = node.flag("reg_class_agnostic", false);
  head.coder = read_coder(node, {0.1f, 0.1f, 0.2f, 0.2f});
  if (node.has("loss_cls")) node.at("loss_cls").only("use_sigmoid", false);
  if (node.integer("in_channels", config.channels, 1, kMaxChannels) != config.channels)
    fail("'{}' is not the pyramid's {}", node.name_of("in_channels"), config.channels);
  if (node.integer("roi_feat_size", config.box_roi.bins, 1, 64) != config.box_roi.bins)
    fail("'{}' is not the {} of the RoI extractor", node.name_of("roi_feat_size"), config.box_roi.bins);
  if (node.integer("num_classes", 80, 1, 1 << 20) != config.classes)
    fail("'{}' differs between the heads", node.name_of("num_classes"));
  return head;
}

MaskHeadConfig read_mask_head(const ConfigNode& node, const TwoStageConfig& config) {
  node.type({"FCNMaskHead"});
  MaskHeadConfig head;
  head.convs = node.integer("num_convs", 4, 0, 64);
  head.channels = node.integer("conv_out_channels", 256, 1, kMaxChannels);
  head.class_agnostic = node.flag("class_agnostic", false);
  node.only("conv_kernel_size", 3);
  for (const char* key : {"conv_cfg", "norm_cfg"}) node.only(key, nullptr);
  if (node.has("upsample_cfg")) {
    node.at("upsample_cfg").only("type", "deconv");
    node.at("upsample_cfg").only("scale_factor", 2);
  }
  if (node.integer("in_channels", config.channels, 1, kMaxChannels) != config.channels)
    fail("'{}' is not the pyramid's {}", node.name_of("in_channels"), config.channels);
  if (node.integer("num_classes", 80, 1, 1 << 20) != config.classes)
    fail("'{}' differs between the heads", node.name_of("num_classes"));
  return head;
}

void read_roi_head(const ConfigNode& node, TwoStageConfig& config) {
  node.type({"StandardRoIHead", "CascadeRoIHead"});
  config.cascade = node.text("type", "") == "CascadeRoIHead";
  const auto stages = static_cast<std::size_t>(config.cascade ? node.integer("num_stages", 3, 1, 16) : 1);
  const ConfigNode boxes = node.at("bbox_head");
  config.box_roi = read_roi(node.at("bbox_roi_extractor").stage(0, stages), config, 7);
  config.classes = boxes.stage(0, stages).integer("num_classes", 80, 1, 1 << 20);
  for (std::size_t i = 0; i < stages; ++i) {
    const RoiConfig roi = read_roi(node.at("bbox_roi_extractor").stage(i, stages), config, 7);
    if (roi.bins != config.box_roi.bins || roi.finest_scale != config.box_roi.finest_scale)
      fail("'{}' differs between stages: igq pools all alike", node.name_of("bbox_roi_extractor"));
    config.box_heads.push_back(read_box_head(boxes.stage(i, stages), config));
  }
  for (const char* key : {"shared_head", "semantic_head", "semantic_roi_extractor"}) node.only(key, nullptr);
  if (!node.has("mask_head")) return;
  // Without an extractor of its own the mask head sees what the box head sees.
  config.mask_roi = node.has("mask_roi_extractor")
                        ? read_roi(node.at("mask_roi_extractor").stage(0, stages), config, 14)
                        : config.box_roi;
  for (std::size_t i = 0; i < stages; ++i)
    config.mask_heads.push_back(read_mask_head(node.at("mask_head").stage(i, stages), config));
}

void read_test(const ConfigNode& node, TwoStageConfig& config) {
  config.score_threshold = node.number("score_thr", 0.05f, 0.0f, 1.0f);
  config.iou_threshold = read_nms(node, "nms_thr", 0.5f);
  config.max_detections = node.integer("max_per_img", 100, -1, kMaxCount);
  config.mask_threshold = node.number("mask_thr_binary", 0.5f, 1e-6f, 1.0f);
}

/// The pipeline of test images, wherever the version keeps it.
const json* find_pipeline(const json& config) {
  if (const json* p = json_find(config, "test_pipeline")) return p;
  for (const char* loader : {"test_dataloader", "val_dataloader"})
    if (const json* l = json_find(config, loader))
      if (const json* dataset = json_find(*l, "dataset"))
        if (const json* p = json_find(*dataset, "pipeline")) return p;
  if (const json* data = json_find(config, "data"))
    if (const json* test = json_find(*data, "test"))
      if (const json* p = json_find(*test, "pipeline")) return p;
  return nullptr;
}

void read_scale(const ConfigNode& node, const char* key, TwoStageConfig& config) {
  const std::vector<int> scale = node.integers(key, {1333, 800}, 1, kMaxSide);
  if (scale.size() != 2) fail("'{}' must be two sides", node.name_of(key));
  config.scale_long = std::max(scale[0], scale[1]);
  config.scale_short = std::min(scale[0], scale[1]);
}

/// Version 2 keeps colours and padding in the pipeline.
void read_pipeline(const json& steps, const std::string& path, TwoStageConfig& config) {
  for (std::size_t i = 0; i < json_array(steps, path, 64).size(); ++i) {
    const ConfigNode step(steps[i], fmt::format("{}[{}]", path, i));
    const std::string type = step.text("type", "");
    if (type == "LoadImageFromFile") {
      const std::string colour = step.text("color_type", "color");
      if (colour != "color" && colour != "color_ignore_orientation")
        fail("'{}' is {}: igq reads color", step.name_of("color_type"), colour);
      config.orientation = colour == "color";
      step.only("to_float32", false);
    } else if (type == "Resize" || type == "FixScaleResize") {
      step.only("keep_ratio", true);
      step.only("scale_factor", nullptr);
      if (type == "FixScaleResize") fail("'{}' is FixScaleResize: igq computes Resize", step.name_of("type"));
      if (step.has("interpolation")) step.only("interpolation", "bilinear");
      if (step.has("scale")) read_scale(step, "scale", config);
      if (step.has("img_scale")) read_scale(step, "img_scale", config);
      if (!step.flag("keep_ratio", false)) fail("'{}' is not true", step.name_of("keep_ratio"));
    } else if (type == "Normalize") {
      config.mean = step.numbers("mean", config.mean);
      config.std = step.numbers("std", config.std);
      config.rgb = step.flag("to_rgb", true);
    } else if (type == "Pad") {
      config.pad_divisor = step.integer("size_divisor", 1, 1, 4096);
      step.only("size", nullptr);
    } else if (type == "MultiScaleFlipAug") {
      step.only("flip", false);
      read_scale(step, "img_scale", config);
      read_pipeline(step.at("transforms").json(), step.name_of("transforms"), config);
    }
  }
}

void read_preprocessing(const json& config, const ConfigNode& model, TwoStageConfig& out) {
  const json* pipeline = find_pipeline(config);
  const json* data = json_find(model.json(), "data_preprocessor");
  if (data == nullptr) data = json_find(config, "data_preprocessor");
  if (pipeline == nullptr && data == nullptr) return;  // mmdetection's defaults for COCO
  if (pipeline != nullptr) read_pipeline(*pipeline, "test_pipeline", out);
  if (data == nullptr) return;
  const ConfigNode node(*data, "data_preprocessor");
  node.type({"DetDataPreprocessor"});
  out.mean = node.numbers("mean", std::array<float, 3>{0.0f, 0.0f, 0.0f});
  out.std = node.numbers("std", std::array<float, 3>{1.0f, 1.0f, 1.0f});
  out.rgb = node.flag("bgr_to_rgb", false);
  node.only("rgb_to_bgr", false);
  node.only("pad_value", 0);
  out.pad_divisor = node.integer("pad_size_divisor", 1, 1, 4096);
}

/// Names of classes, wherever the version keeps them.
const json* find_classes(const json& config) {
  const auto within = [](const json* object) -> const json* {
    if (object == nullptr) return nullptr;
    for (const char* key : {"classes", "CLASSES"})
      if (const json* found = json_find(*object, key)) return found;
    return nullptr;
  };
  if (const json* found = within(&config)) return found;
  for (const char* key : {"metainfo", "dataset_meta"})
    if (const json* found = within(json_find(config, key))) return found;
  for (const char* loader : {"test_dataloader", "val_dataloader"})
    if (const json* l = json_find(config, loader))
      if (const json* dataset = json_find(*l, "dataset"))
        if (const json* found = within(json_find(*dataset, "metainfo"))) return found;
  if (const json* data = json_find(config, "data"))
    if (const json* found = within(json_find(*data, "test"))) return found;
  return nullptr;
}

void read_labels(const json& config, TwoStageConfig& out) {
  if (const json* classes = find_classes(config)) {
    for (const json& name : json_array(*classes, "classes", 1 << 20))
      out.labels.push_back(json_string(name, "classes"));
    if (static_cast<int>(out.labels.size()) != out.classes)
      fail("'classes' has {} names, the heads {} classes", out.labels.size(), out.classes);
  } else if (out.classes == 80) {
    out.labels = coco_class_names();
  }
}

}  // namespace

void finish_config(TwoStageConfig& config) {
  ModelConfig& model = config.backbone;
  model.architecture = config.architecture;
  model.family = Family::kSwin;
  model.num_classes = 0;
  model.swin.fixed_window = true;
  model.swin.pad_before_shift = true;
  model.swin.feature_maps = true;
  constexpr int kLargest = 2048;  // layouts of this size stay in memory; larger pictures make theirs when they come
  const auto padded = [&](int side) {
    side = std::min(side, kLargest);
    return (side + config.pad_divisor - 1) / config.pad_divisor * config.pad_divisor;
  };
  model.image_height = padded(config.scale_short);
  model.image_width = padded(config.scale_long);
}

bool is_mmdet_config(const json& config) {
  if (!config.is_object() || !config.contains("model")) return false;
  const json& model = config.at("model");
  return model.is_object() && model.contains("backbone");
}

TwoStageConfig mmdet_config(const json& config) {
  const ConfigNode model(json_at(config, "model"), "model");
  model.type({"MaskRCNN", "FasterRCNN", "CascadeRCNN"});
  TwoStageConfig out;
  out.architecture = model.text("type", "");
  read_backbone(model.at("backbone"), out);
  read_neck(model.at("neck"), out);
  const json* test = json_find(model.json(), "test_cfg");
  if (test == nullptr) test = json_find(config, "test_cfg");
  if (test == nullptr) fail("'model.test_cfg' is missing");
  const ConfigNode settings(*test, "model.test_cfg");
  read_rpn(model.at("rpn_head"), settings.at("rpn"), out);
  read_roi_head(model.at("roi_head"), out);
  read_test(settings.at("rcnn"), out);
  read_preprocessing(config, model, out);
  read_labels(config, out);
  finish_config(out);
  return out;
}

}  // namespace igq
