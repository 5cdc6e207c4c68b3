// A small detector with random weights, made here: configurations of mmdetection 3 and 2, faults in them, weights that
// do not belong to them, pictures of every shape.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "base/random.h"
#include "detectors/mmdet_config.h"
#include "detectors/open_detector.h"
#include "detectors/two_stage.h"
#include "io/memory_tensors.h"
#include "io/safetensors.h"
#include "tests/detectors/small_detector.h"
#include "tests/test_util.h"

namespace igq {
namespace {

using nlohmann::json;
using test::corpus;
using test::picture;
using test::weights;

std::unique_ptr<Detector> open(const json& config, const TensorSource& tensors) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "config.json") << config;
  write_safetensors(folder.path() / "model.safetensors", tensors, true);
  return open_detector(folder.path());
}

/// The Error's text, empty without one.
std::string fault(const json& config, const TensorSource& tensors) {
  try {
    open(config, tensors);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

std::vector<Detection> detect(const Detector& detector, const Image& image, float threshold = 0.0f) {
  ExecContext context;
  context.kernels = &kernels::kernels_for(best_isa());
  const auto state = detector.make_state();
  return detector.detect(context, image, threshold, *state);
}

TEST(MiniDetector, FindsValidObjectsInPicturesOfEveryShape) {
  for (const bool cascade : {false, true}) {
    const auto detector = open(corpus(cascade ? "cascade" : "mask_rcnn"), weights(cascade));
    EXPECT_EQ(detector->labels(), (std::vector<std::string>{"a", "b"}));
    std::size_t found = 0;
    for (const auto& [w, h] :
         std::vector<std::pair<int, int>>{{1, 1}, {70, 50}, {300, 3}, {3, 300}, {96, 64}, {200, 150}})
      for (const Detection& d : detect(*detector, picture(w, h))) {
        ++found;
        EXPECT_TRUE(d.label == 0 || d.label == 1);
        EXPECT_TRUE(d.score > 0.0f && d.score <= 1.0f);
        EXPECT_TRUE(d.box.x1 >= 0.0f && d.box.x2 >= d.box.x1 && d.box.x2 <= static_cast<float>(w) * 1.0001f);
        EXPECT_TRUE(d.box.y1 >= 0.0f && d.box.y2 >= d.box.y1 && d.box.y2 <= static_cast<float>(h) * 1.0001f);
        ASSERT_TRUE(d.mask.has_value());
        EXPECT_EQ(d.mask->width, w);
        EXPECT_EQ(d.mask->height, h);
      }
    EXPECT_GT(found, 10u);
    EXPECT_TRUE(detect(*detector, picture(70, 50), 1.0f).empty());
  }
}

TEST(MiniDetector, BitsDoNotDependOnInstructionSetAndThreads) {
  const auto detector = open(corpus("cascade"), weights(true));
  const Image image = picture(70, 50);
  const std::vector<Detection> first = detect(*detector, image);
  ASSERT_FALSE(first.empty());
  for (const Isa isa : {Isa::kReference, best_isa()})
    for (const int threads : {2, 3}) {
      ThreadPool pool(threads);
      ExecContext context;
      context.kernels = &kernels::kernels_for(isa);
      context.pool = &pool;
      const auto state = detector->make_state();
      const std::vector<Detection> again = detector->detect(context, image, 0.0f, *state);
      ASSERT_EQ(again.size(), first.size());
      for (std::size_t i = 0; i < first.size(); ++i) {
        EXPECT_EQ(again[i].box, first[i].box);
        EXPECT_EQ(again[i].score, first[i].score);
        EXPECT_EQ(again[i].mask, first[i].mask);
      }
    }
}

TEST(MiniDetector, Version2SaysTheSameInOtherPlaces) {
  const TwoStageConfig old = mmdet_config(corpus("version2"));
  EXPECT_EQ(old.scale_long, 96);
  EXPECT_EQ(old.scale_short, 64);
  EXPECT_EQ(old.pad_divisor, 32);
  EXPECT_EQ(old.mean, (std::array<float, 3>{1.0f, 2.0f, 3.0f}));
  EXPECT_EQ(old.labels, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(old.rgb);
}

TEST(MiniDetector, FaultsNameTheField) {
  const MemoryTensors tensors = weights(false);
  ASSERT_EQ(fault(corpus("mask_rcnn"), tensors), "");
  const auto with = [](const char* pointer, const json& value) {
    json config = corpus("mask_rcnn");
    config[json::json_pointer(pointer)] = value;
    return config;
  };
  const std::vector<std::tuple<const char*, json, const char*>> cases = {
      {"/model/neck/type", "PAFPN", "model.neck.type"},
      {"/model/neck/add_extra_convs", "on_input", "model.neck.add_extra_convs"},
      {"/model/neck/num_outs", 1, "model.neck.num_outs"},
      {"/model/backbone/window_size", 0, "window_size"},
      {"/model/backbone/window_size", 100000, "window_size"},
      {"/model/backbone/use_abs_pos_embed", true, "use_abs_pos_embed"},
      {"/model/backbone/embed_dims", -1, "embed_dims"},
      {"/model/backbone/depths", json::array(), "num_heads"},
      {"/model/backbone/num_heads", {3, 3}, "heads"},
      {"/model/rpn_head/anchor_generator/center_offset", 0.5, "center_offset"},
      {"/model/rpn_head/anchor_generator/scales", json::array(), "anchor_generator"},
      {"/model/rpn_head/anchor_generator/ratios", {0.5, -1}, "anchor_generator"},
      {"/model/rpn_head/anchor_generator/strides", {4, 8}, "strides"},
      {"/model/test_cfg/rcnn/nms/type", "soft_nms", "nms.type"},
      {"/model/test_cfg/rcnn/score_thr", 2, "score_thr"},
      {"/model/test_cfg/rpn/max_per_img", 1e300, "max_per_img"},
      {"/model/roi_head/bbox_roi_extractor/roi_layer/sampling_ratio", 2, "sampling_ratio"},
      {"/model/roi_head/bbox_head/num_classes", 3, "num_classes"},
      {"/model/roi_head/mask_head/class_agnostic", true, "conv_logits"},
      {"/model/data_preprocessor/pad_size_divisor", 0, "pad_size_divisor"},
      {"/test_pipeline/1/keep_ratio", false, "keep_ratio"},
      {"/test_pipeline/1/scale", {1, 2, 3}, "scale"},
      {"/classes", {"one"}, "classes"},
      {"/model/type", "RetinaNet", "model.type"},
  };
  for (const auto& [pointer, value, named] : cases) {
    const std::string text = fault(with(pointer, value), tensors);
    EXPECT_NE(text.find(named), std::string::npos) << pointer << ": '" << text << "'";
  }
}

TEST(MiniDetector, WeightsMustBelongToTheConfiguration) {
  MemoryTensors more = weights(false);
  more.add("roi_head.semantic_head.weight", {1}, AlignedBuffer<float>(1));
  EXPECT_NE(fault(corpus("mask_rcnn"), more).find("semantic_head"), std::string::npos);
  EXPECT_NE(fault(corpus("cascade"), weights(false)).find("missing"), std::string::npos);
  MemoryTensors bad = weights(true);
  AlignedBuffer<float> variance(8);
  for (float& v : variance) v = -1.0f;
  bad.add("roi_head.bbox_head.1.shared_convs.0.bn.running_var", {8}, std::move(variance));
  EXPECT_NE(fault(corpus("cascade"), bad).find("running_var"), std::string::npos);
}

TEST(MiniDetector, EveryMultiplicationIsASite) {
  const auto detector = open(corpus("cascade"), weights(true));
  std::vector<std::string> names;
  for (const Site& site : detector->sites()) names.push_back(site.name);
  for (const char* name :
       {"backbone.patch_embed.proj", "backbone.layers.0.blocks.1.attn.qkv", "backbone.layers.1.downsample.reduction",
        "backbone.layers.1.blocks.0.attn", "neck.lateral_convs.0.conv", "neck.fpn_convs.1.conv", "rpn_head.rpn_reg",
        "roi_head.bbox_head.1.shared_convs.0.conv", "roi_head.bbox_head.0.fc_cls", "roi_head.mask_head.1.upsample"})
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  // 4 blocks of 5, patch embedding, merge; 4 of the neck, 3 of the RPN; 4 of a box head, 3 of a mask head, twice.
  EXPECT_EQ(names.size(), 4u * 5 + 2 + 4 + 3 + 2 * (4 + 3));
}

// An .igq file of a detector named by --arch has no configuration: its tensors say again what the layers are.
TEST(DetectorNames, HeadsFollowFromTheTensorsOfFloatAndOfCodes) {
  MemoryTensors tensors = weights(false);
  const std::string bias = "roi_head.mask_head.upsample.bias";
  const std::int64_t wide = tensors.shapes().at(bias)[0];
  const auto of_float = named_two_stage("mask_rcnn_swin_t_fpn", tensors);
  tensors.add(bias, {4 * wide}, AlignedBuffer<float>(static_cast<std::size_t>(4 * wide)));  // one for each place
  const auto of_codes = named_two_stage("mask_rcnn_swin_t_fpn", tensors);
  ASSERT_TRUE(of_float && of_codes);
  EXPECT_EQ(of_float->mask_heads[0].channels, wide);
  EXPECT_EQ(of_codes->mask_heads[0].channels, wide);
  EXPECT_EQ(of_float->classes, of_codes->classes);
}

TEST(DetectorNames, CocoIds) {
  EXPECT_EQ(coco_class_names().size(), 80u);
  EXPECT_EQ(coco_category_id(0), 1);
  EXPECT_EQ(coco_category_id(11), 13);
  EXPECT_EQ(coco_category_id(79), 90);
  EXPECT_TRUE(is_detector("nowhere", "mask-rcnn_swin-t-p4-w7_fpn_1x_coco"));
  EXPECT_FALSE(is_detector("nowhere", "vit_tiny_patch16_224"));
}

}  // namespace
}  // namespace igq
