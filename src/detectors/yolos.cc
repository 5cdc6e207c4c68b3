#include "detectors/yolos.h"

#include <algorithm>

#include "base/fail.h"
#include "detectors/config_node.h"
#include "detectors/rpn.h"
#include "models/vit.h"

namespace igq {

YolosConfig yolos_config(const nlohmann::json& config, const nlohmann::json& preprocessor) {
  const ConfigNode node(config, "");
  YolosConfig out;
  ModelConfig& model = out.vit;
  model.architecture = "YolosForObjectDetection";
  model.num_classes = 0;
  VitConfig& v = model.vit;
  v.embed_dim = node.integer("hidden_size", 768, 1, 1 << 16);
  v.depth = node.integer("num_hidden_layers", 12, 1, 1024);
  v.num_heads = node.integer("num_attention_heads", 12, 1, 4096);
  v.mlp_hidden = node.integer("intermediate_size", 3072, 1, 1 << 20);
  v.norm_eps = node.number("layer_norm_eps", 1e-12f, 0.0f, 1.0f);
  v.qkv_bias = node.flag("qkv_bias", true);
  v.detection_tokens = node.integer("num_detection_tokens", 100, 1, 1 << 16);
  v.mid_positions = node.flag("use_mid_position_embeddings", true);
  v.antialias_positions = false;
  v.feature_maps = true;
  node.only("hidden_act", "gelu");
  node.only("num_channels", 3);
  const int patch = node.has("patch_size") && node.at("patch_size").json().is_array()
                        ? node.integers("patch_size", {16, 16}, 1, 1 << 10).at(0)
                        : node.integer("patch_size", 16, 1, 1 << 10);
  v.patch_height = v.patch_width = patch;
  std::vector<int> size = {512, 864};
  if (node.has("image_size") && node.at("image_size").json().is_array())
    size = node.integers("image_size", size, 1, 1 << 16);
  else if (node.has("image_size"))
    size.assign(2, node.integer("image_size", 512, 1, 1 << 16));
  if (size.size() != 2 || size[0] < patch || size[1] < patch)
    fail("'image_size' must be two sides of at least one patch of {}", patch);
  model.image_height = size[0];
  model.image_width = size[1];
  out.preprocess = query_preprocess(preprocessor, 16);
  out.labels = query_labels(config);
  return out;
}

Yolos::Yolos(const YolosConfig& config, const ModelBuilder& builder)
    : QueryDetector(config.vit.architecture, config.labels, config.preprocess) {
  vit_ = std::make_unique<Vit>(config.vit, builder.part("vit."));
  const int dim = config.vit.vit.embed_dim;
  classes_ = QueryMlp::read(builder, "class_labels_classifier", dim, 0);
  boxes_ = QueryMlp::read(builder, "bbox_predictor", dim, 4);
  if (classes_.layers.back().out_features() < 2) fail("{}: the classifier has no classes", builder.origin());
  add_sites(*vit_);
  add_sites(classes_);
  add_sites(boxes_);
}

void Yolos::run(ExecContext& context, Pass& pass) const {
  auto& state = dynamic_cast<Tokens&>(pass);
  state.vit.image_height = pass.resized.height;
  state.vit.image_width = pass.resized.width;
  const VitConfig& v = vit_->config().vit;
  if (pass.resized.height < v.patch_height || pass.resized.width < v.patch_width)
    fail("the resized picture of {}x{} pixels is smaller than a patch", pass.resized.width, pass.resized.height);
  vit_->forward(context, pass.input.data(), state.vit);
  const FeatureMap& tokens = state.vit.features.front();
  const int queries = v.detection_tokens;
  const auto floats = static_cast<std::size_t>(queries) * static_cast<std::size_t>(tokens.channels);
  pass.hidden.resize(floats);
  std::copy(tokens.values.end() - floats, tokens.values.end(), pass.hidden.begin());
  pass.logits.resize(static_cast<std::size_t>(queries) *
                     static_cast<std::size_t>(classes_.layers.back().out_features()));
  pass.boxes.resize(static_cast<std::size_t>(queries) * 4);
  classes_.forward(context, pass.hidden.data(), queries, pass.logits.data());
  boxes_.forward(context, pass.hidden.data(), queries, pass.boxes.data());
  std::transform(pass.boxes.begin(), pass.boxes.end(), pass.boxes.begin(), sigmoid);
}

}  // namespace igq
