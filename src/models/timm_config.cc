#include "models/timm_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "io/json_fields.h"
#include "models/config_check.h"
#include "models/config_values.h"
#include "models/registry.h"

namespace igq {
namespace {

using nlohmann::json;
using Setters = std::map<std::string_view, std::function<void(const json&)>>;
using Accepted = std::vector<std::pair<std::string_view, json>>;

/// Arguments that change training, initial weights or which sizes are accepted, never what one image gives.
const std::set<std::string_view> kNoEffect = {"drop_rate",      "pos_drop_rate",    "patch_drop_rate", "proj_drop_rate",
                                              "attn_drop_rate", "drop_path_rate",   "weight_init",     "fix_init",
                                              "img_size",       "dynamic_img_size", "strict_img_size", "num_classes",
                                              "in_chans",       "pretrained",       "checkpoint_path"};

/// Arguments with the one value that igq has.
const Accepted kVitAccepted = {{"qk_norm", false},         {"scale_attn_norm", false}, {"scale_mlp_norm", false},
                               {"proj_bias", true},        {"pos_embed", "learn"},     {"pool_include_prefix", false},
                               {"dynamic_img_pad", false}, {"norm_layer", "layernorm"}};
const Accepted kSwinAccepted = {{"always_partition", false}, {"global_pool", "avg"}, {"norm_layer", "layernorm"}};

/// Applies each argument once; Error for one that igq cannot honour. null is Python's None: the default.
void apply_args(const json& args, const Setters& setters, const Accepted& accepted) {
  for (const auto& [name, value] : args.items()) {
    if (kNoEffect.contains(name)) continue;
    const auto setter = setters.find(name);
    if (setter != setters.end()) {
      if (!value.is_null() || name == "init_values") setter->second(value);
      continue;
    }
    if (value.is_null()) continue;
    const std::string& key = name;
    const auto known = std::find_if(accepted.begin(), accepted.end(), [&](const auto& a) { return a.first == key; });
    if (known == accepted.end()) {
      fail("'model_args.{}' is not known to igq and may change what the model computes: remove it if it does not",
           name);
    }
    if (value != known->second)
      fail("'model_args.{}' is {}, igq runs models with {} only", name, value.dump(), known->second.dump());
  }
}

/// timm: pooling other than by the class token moves the final norm behind it unless `fc_norm` says otherwise.
struct VitPooling {
  bool norm, after_pooling;
  explicit VitPooling(const VitConfig& v) : norm(v.final_norm || v.fc_norm), after_pooling(v.fc_norm) {}
  void store(VitConfig& v) const {
    v.final_norm = norm && !after_pooling;
    v.fc_norm = norm && after_pooling;
  }
};

Pooling parse_pooling(const json& value, std::string_view what) {
  const std::string& text = json_string(value, what);
  if (text == "token") return Pooling::kToken;
  if (text == "avg") return Pooling::kAverage;
  if (text == "map") return Pooling::kAttention;
  fail("'{}' is '{}', igq has token, avg and map", what, text);
}

void apply_vit(const json& config, const json& args, VitConfig& v) {
  VitPooling pooling(v);
  const auto pool = [&](const json& value, std::string_view what) {
    const Pooling before = v.pooling;
    v.pooling = parse_pooling(value, what);
    if (v.pooling != before) pooling.after_pooling = v.pooling == Pooling::kAverage;
  };
  // SwiGLUPacked: fc1 gives gate and value, mlp_ratio counts both; timm's Eva counts one.
  const bool eva = v.rope != Rope::kNone || v.mlp_norm;
  const int packed = v.swiglu && !eva ? 2 : 1;
  double ratio = static_cast<double>(packed) * v.mlp_hidden / v.embed_dim;
  double allowance = 1e-6;  // for a ratio derived from widths; a given one is truncated as Python does
  bool resized = false;
  const auto integer = [](int& to, std::string_view name, int min, int max) {
    return [&to, name, min, max](const json& value) { to = static_cast<int>(json_int(value, name, min, max)); };
  };
  const auto flag = [](bool& to, std::string_view name) {
    return [&to, name](const json& value) { to = json_bool(value, name); };
  };
  // Exports older than model_args say the pooling at the top level only.
  if (const json* top = json_find(config, "global_pool"); top != nullptr && !args.contains("global_pool"))
    pool(*top, "global_pool");
  if (const json* given = json_find(args, "global_pool")) pool(*given, "model_args.global_pool");
  const Setters setters = {
      {"global_pool", [](const json&) {}},
      {"patch_size",
       [&](const json& value) {
         const auto [height, width] = json_pair(value, "model_args.patch_size", 1, 4096);
         v.patch_height = height;
         v.patch_width = width;
       }},
      {"embed_dim",
       [&](const json& value) {
         v.embed_dim = static_cast<int>(json_int(value, "model_args.embed_dim", 1, kMaxWidth));
         resized = true;
       }},
      {"mlp_ratio",
       [&](const json& value) {
         json_float(value, "model_args.mlp_ratio");
         ratio = value.get<double>();
         allowance = 0.0;
         resized = true;
       }},
      {"depth", integer(v.depth, "model_args.depth", 1, 4096)},
      {"num_heads", integer(v.num_heads, "model_args.num_heads", 1, 4096)},
      {"num_reg_tokens", integer(v.reg_tokens, "model_args.num_reg_tokens", 0, 4096)},
      {"reg_tokens", integer(v.reg_tokens, "model_args.reg_tokens", 0, 4096)},
      {"qkv_bias", flag(v.qkv_bias, "model_args.qkv_bias")},
      {"class_token", flag(v.class_token, "model_args.class_token")},
      {"no_embed_class", flag(v.no_embed_class, "model_args.no_embed_class")},
      {"pre_norm", flag(v.pre_norm, "model_args.pre_norm")},
      {"final_norm", flag(pooling.norm, "model_args.final_norm")},
      {"fc_norm", flag(pooling.after_pooling, "model_args.fc_norm")},
      {"init_values", [&](const json& value) { v.layer_scale = !value.is_null(); }},
      {"act_layer",
       [&](const json& value) {
         v.activation = parse_activation(json_string(value, "model_args.act_layer"), "model_args.act_layer");
       }},
  };
  apply_args(args, setters, kVitAccepted);
  pooling.store(v);
  if (resized) {
    const double hidden = std::floor(v.embed_dim * ratio + allowance);
    if (!(hidden >= packed && hidden <= kMaxWidth)) fail("'model_args.mlp_ratio' {} makes no sense", ratio);
    v.mlp_hidden = static_cast<int>(hidden) / packed;
  }
  if (v.pooling == Pooling::kToken && !v.class_token)
    fail("'global_pool' is token and 'class_token' false: nothing to classify");
  if (v.distilled && v.pooling != Pooling::kToken) fail("'global_pool' of a distilled model must be token");
}

/// A number, or a list that repeats it for every stage.
template <typename T>
T same_for_all(const json& value, std::string_view what, T (*read)(const json&, std::string_view)) {
  if (!value.is_array()) return read(value, what);
  if (value.empty()) fail("'{}' is empty", what);
  for (const json& entry : value) {
    if (entry != value.front()) fail("'{}' differs between stages, igq has one for all", what);
  }
  return read(value.front(), what);
}

void apply_swin(const json& args, SwinConfig& s) {
  const auto integers = [](std::vector<int>& to, std::string_view name) {
    return [&to, name](const json& value) {
      to.clear();
      for (const json& entry : json_array(value, name, 8))
        to.push_back(static_cast<int>(json_int(entry, name, 1, 4096)));
    };
  };
  const Setters setters = {
      {"patch_size",
       [&](const json& value) {
         const auto [height, width] = json_pair(value, "model_args.patch_size", 1, 4096);
         if (height != width) fail("'model_args.patch_size' {} is not square", value.dump());
         s.patch_size = height;
       }},
      {"embed_dim",
       [&](const json& value) {
         s.embed_dim = static_cast<int>(json_int(value, "model_args.embed_dim", 1, kMaxWidth));
       }},
      {"depths", integers(s.depths, "model_args.depths")},
      {"num_heads", integers(s.num_heads, "model_args.num_heads")},
      {"window_size",
       [&](const json& value) {
         constexpr std::string_view kName = "model_args.window_size";
         const bool per_stage = value.is_array() && (value.size() != 2 || value.front().is_array());
         const auto pair = [](const json& v, std::string_view what) { return json_pair(v, what, 1, 4096); };
         s.window_size = per_stage ? same_for_all<std::array<int, 2>>(value, kName, pair) : pair(value, kName);
       }},
      {"mlp_ratio",
       [&](const json& value) { s.mlp_ratio = same_for_all<float>(value, "model_args.mlp_ratio", json_float); }},
      {"qkv_bias", [&](const json& value) { s.qkv_bias = json_bool(value, "model_args.qkv_bias"); }},
  };
  apply_args(args, setters, kSwinAccepted);
}

/// timm.data.resolve_data_config: what the configuration leaves out, or gives as null, 0 or nothing, has timm's general
/// default, not that of the architecture.
void apply_preprocess(const json& cfg, PreprocessConfig& p) {
  p = PreprocessConfig();
  const auto given = [&](const char* name) -> const json* {
    const json* value = json_find(cfg, name);
    if (value == nullptr) return nullptr;
    const bool nothing = value->is_number() ? *value == 0 : value->is_string() ? *value == "" : value->empty();
    return nothing ? nullptr : value;
  };
  if (const json* value = given("interpolation"))
    p.interpolation = parse_interpolation(json_string(*value, "interpolation"));
  if (const json* value = given("crop_mode")) p.crop_mode = parse_crop_mode(json_string(*value, "crop_mode"));
  if (const json* value = given("crop_pct")) {
    json_float(*value, "crop_pct");
    p.crop_pct = value->get<double>();
  }
  if (const json* value = given("mean")) p.mean = json_rgb(*value, "mean");
  if (const json* value = given("std")) p.std = json_rgb(*value, "std");
}

/// timm: model_args.img_size, else pretrained_cfg.input_size, else timm's general 224. Models that take any size run at
/// input_size, whatever size their position embedding is stored for.
void apply_image_size(const json& args, const json& cfg, ModelConfig& config) {
  const json* input = json_find(cfg, "input_size");
  const json* stored = json_find(args, "img_size");
  const auto flag = [&args](const char* name, bool otherwise) {
    const json* value = json_find(args, name);
    return value != nullptr ? json_bool(*value, name) : otherwise;
  };
  const bool any_size = flag("dynamic_img_size", false) || !flag("strict_img_size", true);
  std::array<int, 2> size = {224, 224};
  std::array<int, 2> network = size;
  if (input != nullptr) {
    if (json_array(*input, "input_size", 3).size() != 3) fail("'input_size' is not [channels, height, width]");
    config.in_channels = static_cast<int>(json_int((*input)[0], "input_size", 1, 4096));
    for (std::size_t i = 0; i < 2; ++i) size[i] = static_cast<int>(json_int((*input)[i + 1], "input_size", 1, 1 << 16));
    network = size;
  }
  if (stored != nullptr) network = json_pair(*stored, "model_args.img_size", 1, 1 << 16);
  if (!any_size || input == nullptr) size = network;
  if (config.family == Family::kSwin && size != network) {
    fail("'input_size' {}x{} differs from 'model_args.img_size' {}x{}: igq runs Swin at the size it was built for",
         size[0], size[1], network[0], network[1]);
  }
  config.image_height = size[0];
  config.image_width = size[1];
  if (const json* channels = json_find(args, "in_chans"))
    config.in_channels = static_cast<int>(json_int(*channels, "model_args.in_chans", 1, 4096));
  if (config.in_channels != 3) fail("the model takes {} channels, igq feeds it RGB images", config.in_channels);
}

/// label_names: a list by class, or {"index": name}.
std::vector<std::string> parse_labels(const json& names, int classes, std::vector<std::string>& notes) {
  if (names.is_object()) return labels_by_index(names, "label_names", classes, notes);
  std::vector<std::string> labels;
  for (const json& name : json_array(names, "label_names", kMaxWidth))
    labels.push_back(json_label(name, "label_names"));
  return labels;
}

void apply_classes(const json& config, const json& args, const json& cfg, ModelConfig& out) {
  out.num_classes = 1000;
  out.labels.clear();
  for (const json* object : {&cfg, &config, &args}) {
    if (const json* value = json_find(*object, "num_classes"))
      out.num_classes = static_cast<int>(json_int(*value, "num_classes", 0, kMaxWidth));
  }
  if (out.num_classes == 0) return;
  if (out.num_classes == 1) out.scores = Scores::kSigmoid;  // the softmax of one logit says nothing
  const json* names = json_find(config, "label_names");
  if (names == nullptr) names = json_find(config, "labels");
  if (names == nullptr) names = json_find(cfg, "label_names");
  // Other numbers of labels are left over from the model it was fine-tuned from; timm drops them too.
  if (names == nullptr) return;
  if (names->size() > static_cast<std::size_t>(out.num_classes)) {
    out.notes.push_back(
        fmt::format("'label_names' has {} names for {} classes: none of them is used", names->size(), out.num_classes));
    return;
  }
  out.labels = parse_labels(*names, out.num_classes, out.notes);
  if (out.labels.size() == static_cast<std::size_t>(out.num_classes)) return;
  if (!out.labels.empty())
    out.notes.push_back(
        fmt::format("'label_names' has {} names for {} classes: none of them is used", names->size(), out.num_classes));
  out.labels.clear();
}

ModelConfig base_config(const std::string& name, const json& args) {
  if (auto known = find_architecture(name)) return *known;
  const bool swin = name.starts_with("swin_"), vit = name.starts_with("vit_") || name.starts_with("deit");
  const char* depth = swin ? "depths" : "depth";
  for (const char* needed : {"embed_dim", depth, "num_heads"}) {
    if ((!swin && !vit) || json_find(args, needed) == nullptr) return architecture_config(name);  // its Error
  }
  ModelConfig config;
  config.architecture = name;
  config.family = swin ? Family::kSwin : Family::kVit;
  config.vit.distilled = name.find("distilled") != std::string::npos;
  return config;
}

}  // namespace

bool is_timm_config(const json& config) {
  return config.is_object() && config.contains("architecture") && config["architecture"].is_string();
}

ModelConfig timm_config(const json& config, const std::string& architecture) {
  static const json kEmpty = json::object();
  const json* args = json_find(config, "model_args");
  const json* cfg = json_find(config, "pretrained_cfg");
  if (args == nullptr) args = &kEmpty;
  if (cfg == nullptr) cfg = &config;  // exports of 2022 and before: one flat object
  if (!args->is_object()) fail("'model_args' is not an object");
  if (!cfg->is_object()) fail("'pretrained_cfg' is not an object");
  const std::string name =
      architecture.empty() ? json_string(json_at(config, "architecture"), "architecture") : architecture;
  ModelConfig out = base_config(name, *args);
  apply_image_size(*args, *cfg, out);
  if (out.family == Family::kVit)
    apply_vit(config, *args, out.vit);
  else
    apply_swin(*args, out.swin);
  apply_preprocess(*cfg, out.preprocess);
  apply_classes(config, *args, *cfg, out);
  return out;
}

}  // namespace igq
