// One list of fields per struct serves both directions, so that writing and reading cannot drift apart.
#include "models/config_json.h"

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "io/json_fields.h"
#include "models/config_check.h"

namespace igq {
namespace {

using kernels::Activation;
using nlohmann::json;

constexpr std::array<std::pair<Family, std::string_view>, 2> kFamilies{
    {{Family::kVit, "vit"}, {Family::kSwin, "swin"}}};
constexpr std::array<std::pair<Pooling, std::string_view>, 3> kPoolings{
    {{Pooling::kToken, "token"}, {Pooling::kAverage, "avg"}, {Pooling::kAttention, "map"}}};
constexpr std::array<std::pair<Rope, std::string_view>, 3> kRopes{
    {{Rope::kNone, "none"}, {Rope::kDinov3, "dinov3"}, {Rope::kEva, "eva"}}};
constexpr std::array<std::pair<Scores, std::string_view>, 3> kScores{
    {{Scores::kSoftmax, "softmax"}, {Scores::kSigmoid, "sigmoid"}, {Scores::kNone, "none"}}};
constexpr std::array<std::pair<Orientation, std::string_view>, 2> kOrientations{
    {{Orientation::kIgnore, "ignore"}, {Orientation::kExif, "exif"}}};
constexpr std::array<std::pair<Activation, std::string_view>, 5> kActivations{{{Activation::kGelu, "gelu"},
                                                                               {Activation::kGeluTanh, "gelu_tanh"},
                                                                               {Activation::kQuickGelu, "quick_gelu"},
                                                                               {Activation::kSilu, "silu"},
                                                                               {Activation::kRelu, "relu"}}};
class Writer {
 public:
  explicit Writer(json& out) : out_(out) {}
  void flag(const char* name, const bool& value) { out_[name] = value; }
  /// A field younger than version 1 of the .igq file: written only where it is not `usual`, which files without it
  /// mean. Readers that are older refuse the file then, instead of computing something else.
  void later_flag(const char* name, const bool& value, bool usual) {
    if (value != usual) out_[name] = value;
  }
  void integer(const char* name, const int& value, std::int64_t, std::int64_t) { out_[name] = value; }
  void later_integer(const char* name, const int& value, int usual, std::int64_t, std::int64_t) {
    if (value != usual) out_[name] = value;
  }
  template <typename List>
  void integers(const char* name, const List& values, std::int64_t, std::int64_t) {
    out_[name] = values;
  }
  void number(const char* name, const float& value) { out_[name] = float_to_json(value); }
  void number(const char* name, const double& value) { out_[name] = value; }
  void numbers(const char* name, const std::array<double, 3>& values) {
    out_[name] = json::array();
    for (const double v : values) out_[name].push_back(v);
  }
  template <typename Table, typename E>
  void choice(const char* name, const E& value, const Table& table) {
    for (const auto& [known, text] : table) {
      if (known == value) out_[name] = text;
    }
  }
  template <typename Table, typename E>
  void later_choice(const char* name, const E& value, const Table& table, E usual) {
    if (value != usual) choice(name, value, table);
  }
  template <typename E>
  void named(const char* name, const E& value, std::string_view (*print)(E), E (*)(std::string_view)) {
    out_[name] = print(value);
  }

 private:
  json& out_;
};

class Reader {
 public:
  explicit Reader(const json& in) : in_(in) {
    if (!in_.is_object()) fail("its configuration is not an object");
  }
  /// To be called when every known field was asked for. UnknownField when there are others.
  void refuse_others(std::string_view what) const { json_only(in_, what, asked_); }
  void flag(const char* name, bool& value) {
    if (const json* found = find(name)) value = json_bool(*found, name);
  }
  void later_flag(const char* name, bool& value, bool) { flag(name, value); }
  void integer(const char* name, int& value, std::int64_t min, std::int64_t max) {
    if (const json* found = find(name)) value = static_cast<int>(json_int(*found, name, min, max));
  }
  void later_integer(const char* name, int& value, int, std::int64_t min, std::int64_t max) {
    integer(name, value, min, max);
  }
  void integers(const char* name, std::vector<int>& values, std::int64_t min, std::int64_t max) {
    const json* found = find(name);
    if (found == nullptr) return;
    values.clear();
    for (const json& v : json_array(*found, name, 64)) values.push_back(static_cast<int>(json_int(v, name, min, max)));
  }
  void integers(const char* name, std::array<int, 2>& values, std::int64_t min, std::int64_t max) {
    const json* found = find(name);
    if (found == nullptr) return;
    if (json_array(*found, name, 2).size() != 2) fail("'{}' does not have 2 entries", name);
    for (std::size_t i = 0; i < 2; ++i) values[i] = static_cast<int>(json_int((*found)[i], name, min, max));
  }
  void number(const char* name, float& value) {
    if (const json* found = find(name)) value = json_float(*found, name);
  }
  void number(const char* name, double& value) {
    const json* found = find(name);
    if (found == nullptr) return;
    json_float(*found, name);  // a finite number
    value = found->get<double>();
  }
  void numbers(const char* name, std::array<double, 3>& values) {
    const json* found = find(name);
    if (found == nullptr) return;
    if (json_array(*found, name, 3).size() != 3) fail("'{}' does not have 3 entries", name);
    for (std::size_t i = 0; i < 3; ++i) {
      json_float((*found)[i], name);  // finite, also as float
      values[i] = (*found)[i].get<double>();
    }
  }
  template <typename Table, typename E>
  void choice(const char* name, E& value, const Table& table) {
    const json* found = find(name);
    if (found == nullptr) return;
    const std::string& text = json_string(*found, name);
    std::string all;
    for (const auto& [known, known_text] : table) {
      if (known_text == text) {
        value = known;
        return;
      }
      all += fmt::format("{}{}", all.empty() ? "" : ", ", known_text);
    }
    fail("'{}' is '{}', none of {}", name, text, all);
  }
  template <typename Table, typename E>
  void later_choice(const char* name, E& value, const Table& table, E) {
    choice(name, value, table);
  }
  template <typename E>
  void named(const char* name, E& value, std::string_view (*)(E), E (*parse)(std::string_view)) {
    if (const json* found = find(name)) value = parse(json_string(*found, name));
  }

 private:
  const json* find(const char* name) {
    asked_.push_back(name);
    const auto found = in_.find(name);
    return found == in_.end() ? nullptr : &*found;
  }
  const json& in_;
  std::vector<std::string_view> asked_;
};

template <typename Io, typename Config>
void vit_fields(Io& io, Config& c) {
  io.integer("patch_height", c.patch_height, 1, 4096);
  io.integer("patch_width", c.patch_width, 1, 4096);
  io.integer("embed_dim", c.embed_dim, 1, kMaxWidth);
  io.integer("depth", c.depth, 1, 4096);
  io.integer("num_heads", c.num_heads, 1, 4096);
  io.integer("mlp_hidden", c.mlp_hidden, 1, kMaxWidth);
  io.flag("class_token", c.class_token);
  io.flag("distilled", c.distilled);
  io.integer("reg_tokens", c.reg_tokens, 0, 4096);
  io.flag("no_embed_class", c.no_embed_class);
  io.later_flag("antialias_positions", c.antialias_positions, true);
  io.flag("qkv_bias", c.qkv_bias);
  io.flag("layer_scale", c.layer_scale);
  io.flag("pre_norm", c.pre_norm);
  io.later_integer("projection", c.projection, 0, 0, kMaxWidth);
  io.later_flag("unit_head", c.unit_head, false);
  io.later_flag("key_bias", c.key_bias, true);
  io.later_flag("positions", c.positions, true);
  io.later_choice("rope", c.rope, kRopes, Rope::kNone);
  if (c.rope != Rope::kNone) io.number("rope_theta", c.rope_theta);
  if (c.rope == Rope::kEva) io.integer("rope_grid", c.rope_grid, 1, 4096);
  io.later_flag("mlp_norm", c.mlp_norm, false);
  io.flag("final_norm", c.final_norm);
  io.flag("fc_norm", c.fc_norm);
  io.flag("swiglu", c.swiglu);
  io.choice("pooling", c.pooling, kPoolings);
  io.flag("concat_pool", c.concat_pool);
  io.number("norm_eps", c.norm_eps);
  io.choice("activation", c.activation, kActivations);
}

template <typename Io, typename Config>
void swin_fields(Io& io, Config& c) {
  io.integer("patch_size", c.patch_size, 1, 4096);
  io.integer("embed_dim", c.embed_dim, 1, kMaxWidth);
  io.integers("depths", c.depths, 1, 4096);
  io.integers("num_heads", c.num_heads, 1, 4096);
  io.integers("window_size", c.window_size, 1, 4096);
  io.number("mlp_ratio", c.mlp_ratio);
  io.flag("qkv_bias", c.qkv_bias);
  io.later_flag("pad_before_shift", c.pad_before_shift, false);
  io.number("norm_eps", c.norm_eps);
}

template <typename Io, typename Config>
void preprocess_fields(Io& io, Config& c) {
  io.named("interpolation", c.interpolation, interpolation_name, parse_interpolation);
  io.number("crop_pct", c.crop_pct);
  io.named("crop_mode", c.crop_mode, crop_mode_name, parse_crop_mode);
  io.numbers("mean", c.mean);
  io.numbers("std", c.std);
  io.integer("resize_height", c.resize_height, 0, kMaxWidth);
  io.integer("resize_width", c.resize_width, 0, kMaxWidth);
  io.integer("resize_short", c.resize_short, 0, kMaxWidth);
  io.later_flag("float_resize", c.float_resize, false);
  io.later_choice("orientation", c.orientation, kOrientations, Orientation::kIgnore);
}

}  // namespace

json config_to_json(const ModelConfig& config) {
  json out = json::object();
  out["architecture"] = config.architecture;
  Writer io(out);
  io.choice("family", config.family, kFamilies);
  io.integer("num_classes", config.num_classes, 0, 0);
  io.integer("in_channels", config.in_channels, 0, 0);
  io.integer("image_height", config.image_height, 0, 0);
  io.integer("image_width", config.image_width, 0, 0);
  if (config.family == Family::kVit) {
    Writer vit(out["vit"]);
    vit_fields(vit, config.vit);
  } else {
    Writer swin(out["swin"]);
    swin_fields(swin, config.swin);
  }
  Writer preprocess(out["preprocess"]);
  preprocess_fields(preprocess, config.preprocess);
  out["labels"] = config.labels;
  io.later_choice("scores", config.scores, kScores, Scores::kSoftmax);
  return out;
}

ModelConfig config_from_json(const json& in) {
  ModelConfig config;
  config.architecture = json_string(json_at(in, "architecture"), "architecture");
  for (const char* required : {"family", "num_classes", "image_height", "image_width"}) json_at(in, required);
  Reader io(in);
  io.choice("family", config.family, kFamilies);
  io.integer("num_classes", config.num_classes, 0, kMaxWidth);
  io.integer("in_channels", config.in_channels, 1, 4096);
  io.integer("image_height", config.image_height, 1, 1 << 16);
  io.integer("image_width", config.image_width, 1, 1 << 16);
  io.later_choice("scores", config.scores, kScores, Scores::kSoftmax);
  const bool is_vit = config.family == Family::kVit;
  if (in.contains(is_vit ? "swin" : "vit")) fail("'vit' and 'swin' beside each other: one family has one of them");
  if (is_vit) {
    Reader vit(json_at(in, "vit"));
    vit_fields(vit, config.vit);
    vit.refuse_others("config.vit");
  } else {
    Reader swin(json_at(in, "swin"));
    swin_fields(swin, config.swin);
    swin.refuse_others("config.swin");
  }
  Reader preprocess(json_at(in, "preprocess"));
  preprocess_fields(preprocess, config.preprocess);
  preprocess.refuse_others("config.preprocess");
  json_only(in, "config",
            {"architecture", "family", "num_classes", "in_channels", "image_height", "image_width", "vit", "swin",
             "preprocess", "labels", "scores"});
  if (in.contains("labels")) {
    for (const json& label : json_array(in["labels"], "labels", static_cast<std::size_t>(kMaxWidth))) {
      config.labels.push_back(json_string(label, "labels"));
    }
  }
  check_config(config);
  return config;
}

}  // namespace igq
