#include "detectors/detr.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/fail.h"
#include "detectors/config_node.h"
#include "detectors/rpn.h"

namespace igq {
namespace {

constexpr float kNormEps = 1e-5f;  // torch's default; transformers' DETR has no field for it

std::size_t floats(int rows, int dim) { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(dim); }

kernels::Activation read_activation(const ConfigNode& node) {
  const std::string name = node.text("activation_function", "relu");
  if (name == "relu") return kernels::Activation::kRelu;
  if (name == "gelu") return kernels::Activation::kGelu;
  if (name == "silu" || name == "swish") return kernels::Activation::kSilu;
  fail("'activation_function' is {}: igq computes relu, gelu and silu", name);
}

}  // namespace

DetrConfig detr_config(const nlohmann::json& config, const nlohmann::json& preprocessor, const TensorSource& tensors) {
  const ConfigNode node(config, "");
  DetrConfig out;
  out.dim = node.integer("d_model", 256, 4, 1 << 16);
  out.encoder_layers = node.integer("encoder_layers", 6, 0, 1024);
  out.decoder_layers = node.integer("decoder_layers", 6, 0, 1024);
  out.encoder_heads = node.integer("encoder_attention_heads", 8, 1, 4096);
  out.decoder_heads = node.integer("decoder_attention_heads", 8, 1, 4096);
  out.encoder_ffn = node.integer("encoder_ffn_dim", 2048, 1, 1 << 20);
  out.decoder_ffn = node.integer("decoder_ffn_dim", 2048, 1, 1 << 20);
  out.queries = node.integer("num_queries", 100, 1, 1 << 16);
  out.dilated = node.flag("dilation", false);
  out.activation = read_activation(node);
  node.only("num_channels", 3);
  node.only("position_embedding_type", "sine");
  if (out.dim % 4 != 0 || out.dim % out.encoder_heads != 0 || out.dim % out.decoder_heads != 0)
    fail("'d_model' {} is not a multiple of 4 and of the heads {} and {}", out.dim, out.encoder_heads,
         out.decoder_heads);
  if (node.has("backbone_config")) {
    const ConfigNode backbone = node.at("backbone_config");
    backbone.only("downsample_in_bottleneck", false);
    backbone.only("downsample_in_first_stage", false);
    backbone.only("hidden_act", "relu");
  }
  const auto head = tensors.shapes().find("class_labels_classifier.weight");
  if (head == tensors.shapes().end() || head->second.size() != 2 || head->second[0] < 2 || head->second[0] > (1 << 20))
    fail("{}: tensor 'class_labels_classifier.weight' is missing or no matrix", tensors.origin());
  out.classes = static_cast<int>(head->second[0]) - 1;
  out.preprocess = query_preprocess(preprocessor, 1);
  out.labels = query_labels(config);
  return out;
}

Detr::AttentionLayer Detr::read_attention(const ModelBuilder& builder, const std::string& name, int heads) const {
  const int dim = config_.dim;
  AttentionLayer layer;
  layer.q = builder.linear(name + ".q_proj", dim, dim, true);
  layer.k = builder.linear(name + ".k_proj", dim, dim, true);
  layer.v = builder.linear(name + ".v_proj", dim, dim, true);
  // Published files have out_proj, those of transformers 5 may say o_proj.
  layer.out = builder.linear(name + (builder.has(name + ".o_proj.weight") ? ".o_proj" : ".out_proj"), dim, dim, true);
  layer.attention = builder.attention(name, heads, dim / heads);
  layer.norm = builder.norm(name + "_layer_norm", dim, kNormEps);
  return layer;
}

Detr::Layer Detr::read_layer(const ModelBuilder& builder, bool decoder, int heads, int ffn) const {
  Layer layer;
  layer.self = read_attention(builder, "self_attn", heads);
  if (decoder) layer.cross = read_attention(builder, "encoder_attn", heads);
  const std::string mlp = builder.has("mlp.fc1.weight") ? "mlp." : "";
  layer.fc1 = builder.linear(mlp + "fc1", config_.dim, ffn, true);
  layer.fc2 = builder.linear(mlp + "fc2", ffn, config_.dim, true);
  layer.norm = builder.norm("final_layer_norm", config_.dim, kNormEps);
  return layer;
}

void Detr::add_layer_sites(Layer& layer, bool decoder) {
  const auto add = [this](AttentionLayer& a) {
    for (Linear* linear : {&a.q, &a.k, &a.v}) add_site(*linear);
    add_site(a.attention);
    add_site(a.out);
  };
  add(layer.self);
  if (decoder) add(layer.cross);
  add_site(layer.fc1);
  add_site(layer.fc2);
  next_part();
}

Detr::Detr(const DetrConfig& config, const ModelBuilder& builder)
    : QueryDetector("DetrForObjectDetection", config.labels, config.preprocess), config_(config) {
  backbone_ = ResNet(builder.part("backbone."), config.dilated);
  projection_ = builder.conv("model.input_projection", {backbone_.channels(), config.dim, 1, 1, 0}, true);
  for (int i = 0; i < config.encoder_layers; ++i)
    encoder_.push_back(read_layer(builder.part(fmt::format("model.encoder.layers.{}.", i)), false, config.encoder_heads,
                                  config.encoder_ffn));
  for (int i = 0; i < config.decoder_layers; ++i)
    decoder_.push_back(read_layer(builder.part(fmt::format("model.decoder.layers.{}.", i)), true, config.decoder_heads,
                                  config.decoder_ffn));
  query_positions_ =
      builder.tensor("model.query_position_embeddings.weight", std::int64_t{config.queries} * config.dim);
  norm_ = builder.norm("model.decoder.layernorm", config.dim, kNormEps);
  classes_ = builder.linear("class_labels_classifier", config.dim, config.classes + 1, true);
  boxes_ = QueryMlp::read(builder, "bbox_predictor", config.dim, 4);
  positions_ = std::make_unique<SizeCache<AlignedBuffer<float>>>();
  for (Conv2d* conv : backbone_.convs()) add_site(*conv);
  add_site(projection_);
  next_part();
  for (Layer& layer : encoder_) add_layer_sites(layer, false);
  for (Layer& layer : decoder_) add_layer_sites(layer, true);
  add_site(classes_, true);
  add_sites(boxes_);
}

AlignedBuffer<float> Detr::positions(int height, int width) const {
  // y / (rows + 1e-6) * 2 pi over temperatures 10000^(2 floor(i / 2) / half), sines and cosines in turn; y, then x.
  const int half = config_.dim / 2;
  AlignedBuffer<float> result(floats(height * width, config_.dim));
  std::vector<float> period(static_cast<std::size_t>(half));
  for (int i = 0; i < half; ++i)
    period[static_cast<std::size_t>(i)] =
        static_cast<float>(std::pow(10000.0, 2.0 * static_cast<double>(i / 2) / static_cast<double>(half)));
  const auto at = [](int i, int count) {
    return static_cast<float>(i + 1) / (static_cast<float>(count) + 1e-6f) * static_cast<float>(2.0 * std::numbers::pi);
  };
  float* out = result.data();
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const float value : {at(y, height), at(x, width)})
        for (int i = 0; i < half; ++i) {
          const double angle = static_cast<double>(value / period[static_cast<std::size_t>(i)]);
          *out++ = static_cast<float>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
        }
  return result;
}

/// x = norm(x + out(attention(q(x + positions), k(keys + positions), v(keys)))).
void Detr::attend(ExecContext& context, const AttentionLayer& layer, float* x, const Tokens& queries,
                  const Tokens& keys) const {
  const ArenaScope scope(context.arena);
  const int dim = config_.dim;
  const auto placed = [&](const Tokens& tokens) {
    float* sum = context.arena.take<float>(floats(tokens.count, dim));
    std::copy_n(tokens.values, floats(tokens.count, dim), sum);
    add_residual(context, sum, tokens.positions, tokens.count, dim, nullptr);
    return static_cast<const float*>(sum);
  };
  const float* placed_queries = placed(queries);
  const float* placed_keys = keys.values == queries.values ? placed_queries : placed(keys);
  float* q = context.arena.take<float>(floats(queries.count, dim));
  float* k = context.arena.take<float>(floats(keys.count, dim));
  float* v = context.arena.take<float>(floats(keys.count, dim));
  float* mixed = context.arena.take<float>(floats(queries.count, dim));
  layer.q.forward(context, placed_queries, queries.count, q);
  layer.k.forward(context, placed_keys, keys.count, k);
  layer.v.forward(context, keys.values, keys.count, v);
  layer.attention.forward(context, q, queries.count, {k, v, layer.q.out_features(), keys.count}, mixed);
  layer.out.forward_residual(context, mixed, queries.count, nullptr, x);
  layer_norm(context, layer.norm, x, queries.count, x);
}

void Detr::feed_forward(ExecContext& context, const Layer& layer, float* x, int rows) const {
  const ArenaScope scope(context.arena);
  layer.fc1.forward_mlp(context, x, rows, config_.activation, layer.fc2, nullptr, x, rows);
  layer_norm(context, layer.norm, x, rows, x);
}

void Detr::run(ExecContext& context, Pass& pass) const {
  auto& state = dynamic_cast<Memory&>(pass);
  const int dim = config_.dim, queries = config_.queries;
  backbone_.forward(context, pass.input.data(), pass.resized.height, pass.resized.width, state.maps);
  const FeatureMap& map = state.maps.back();
  const auto tokens = static_cast<int>(map.pixels());
  state.projected.resize(floats(tokens, dim));
  projection_.forward(context, map.values.data(), {1, map.height, map.width}, state.projected.data());
  const auto places = positions_->get(map.height, map.width, [&] { return positions(map.height, map.width); });

  const auto keep = [](std::vector<AlignedBuffer<float>>& all, std::size_t layer, const AlignedBuffer<float>& x) {
    all[layer].resize(x.size());
    std::copy(x.begin(), x.end(), all[layer].begin());
  };
  state.encoder.resize(encoder_.size());
  state.decoder.resize(decoder_.size());
  state.encoded.resize(state.projected.size());
  std::copy(state.projected.begin(), state.projected.end(), state.encoded.begin());
  float* x = state.encoded.data();
  for (std::size_t i = 0; i < encoder_.size(); ++i) {
    const Tokens all{x, places->data(), tokens};
    attend(context, encoder_[i].self, x, all, all);
    feed_forward(context, encoder_[i], x, tokens);
    keep(state.encoder, i, state.encoded);
  }
  pass.hidden.resize_zero(floats(queries, dim));
  float* y = pass.hidden.data();
  const Tokens memory{x, places->data(), tokens}, asked{y, query_positions_.data(), queries};
  for (std::size_t i = 0; i < decoder_.size(); ++i) {
    attend(context, decoder_[i].self, y, asked, asked);
    attend(context, decoder_[i].cross, y, asked, memory);
    feed_forward(context, decoder_[i], y, queries);
    keep(state.decoder, i, pass.hidden);
  }
  layer_norm(context, norm_, y, queries, y);
  pass.logits.resize(floats(queries, config_.classes + 1));
  pass.boxes.resize(floats(queries, 4));
  classes_.forward(context, y, queries, pass.logits.data());
  boxes_.forward(context, y, queries, pass.boxes.data());
  std::transform(pass.boxes.begin(), pass.boxes.end(), pass.boxes.begin(), sigmoid);
}

}  // namespace igq
