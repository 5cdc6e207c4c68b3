#include "models/transformers_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "io/json_fields.h"
#include "models/config_check.h"
#include "models/config_fields.h"
#include "models/config_values.h"
#include "models/processor_config.h"

namespace igq {
namespace {

using nlohmann::json;

enum class Kind {
  kVit,
  kDeit,
  kDeitTeacher,
  kSwin,
  kDinov2,
  kDinov2Registers,
  kClip,
  kClipMean,
  kSiglip,
  kSiglipMean,
  kDinov3
};
struct ModelClass {
  std::string_view name, model_type,
      processor;  ///< processor: the class that transformers takes unless a file names one
  Kind kind;
};
/// Of classes with one model_type the first is what AutoModelForImageClassification takes without a name.
constexpr std::array<ModelClass, 13> kClasses{
    {{"ViTForImageClassification", "vit", "ViTImageProcessor", Kind::kVit},
     {"DeiTForImageClassification", "deit", "DeiTImageProcessor", Kind::kDeit},
     {"DeiTForImageClassificationWithTeacher", "deit", "DeiTImageProcessor", Kind::kDeitTeacher},
     {"SwinForImageClassification", "swin", "ViTImageProcessor", Kind::kSwin},
     {"Dinov2ForImageClassification", "dinov2", "BitImageProcessor", Kind::kDinov2},
     {"Dinov2WithRegistersForImageClassification", "dinov2_with_registers", "", Kind::kDinov2Registers},
     {"CLIPModel", "clip", "CLIPImageProcessor", Kind::kClip},
     {"CLIPForImageClassification", "clip", "CLIPImageProcessor", Kind::kClipMean},
     {"CLIPVisionModelWithProjection", "clip_vision_model", "CLIPImageProcessor", Kind::kClip},
     {"SiglipForImageClassification", "siglip", "SiglipImageProcessor", Kind::kSiglipMean},
     {"SiglipModel", "siglip", "SiglipImageProcessor", Kind::kSiglip},
     {"SiglipVisionModel", "siglip_vision_model", "SiglipImageProcessor", Kind::kSiglip},
     {"DINOv3ViTModel", "dinov3_vit", "DINOv3ViTImageProcessor", Kind::kDinov3}}};

/// As AutoModelForImageClassification chooses: by model_type, and by the class that saved the model where one type has
/// several; by that class alone in files without a type.
const ModelClass& find_class(const json& config) {
  const json* list = json_find(config, "architectures");
  const bool named = list != nullptr && !json_array(*list, "architectures", 16).empty();
  const std::string name = named ? json_string(list->front(), "architectures") : std::string();
  const json* type_field = json_find(config, "model_type");
  const std::string type = type_field == nullptr ? std::string() : json_string(*type_field, "model_type");
  if (!named && type.empty())
    fail("both 'architectures' and 'model_type' are missing: igq needs the name of the class that saved the model");
  const ModelClass* of_type = nullptr;
  std::string all;
  for (const ModelClass& known : kClasses) {
    if (known.name == name && (type.empty() || known.model_type == type)) return known;
    if (known.model_type == type && of_type == nullptr) of_type = &known;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known.name);
  }
  if (type == "siglip" && named)
    fail("'architectures' names {}: igq runs SiglipModel, SiglipVisionModel and SiglipForImageClassification", name);
  if (of_type != nullptr) return *of_type;
  if (!named) fail("'model_type' is {}, igq runs {}", type, all);
  if (type.empty()) fail("'architectures' names {}, igq runs {}", name, all);
  fail("'architectures' names {} and 'model_type' is {}, igq runs {}", name, type, all);
}

bool is_siglip(Kind kind) { return kind == Kind::kSiglip || kind == Kind::kSiglipMean; }
bool is_clip_kind(Kind kind) { return kind == Kind::kClip || kind == Kind::kClipMean || is_siglip(kind); }

void read_sizes(const ConfigFields& f, int usual_patch, VitConfig& v) {
  const auto patch = f.pair("patch_size", usual_patch, 4096);
  v.patch_height = patch[0];
  v.patch_width = patch[1];
  v.embed_dim = f.integer("hidden_size", 768, 1, kMaxWidth);
  v.depth = f.integer("num_hidden_layers", 12, 1, 4096);
  v.num_heads = f.integer("num_attention_heads", 12, 1, 4096);
}

/// The vision tower of CLIP (norm before the blocks, no bias in the patch embedding) or SigLIP (no class token).
void read_clip(const ConfigFields& f, Kind kind, VitConfig& v) {
  const bool siglip = is_siglip(kind);
  read_sizes(f, siglip ? 16 : 32, v);
  v.mlp_hidden = f.integer("intermediate_size", 3072, 1, kMaxWidth);
  v.norm_eps = f.number("layer_norm_eps", siglip ? 1e-6f : 1e-5f);
  v.activation = f.find("hidden_act") != nullptr ? f.activation()
                 : siglip                        ? kernels::Activation::kGeluTanh
                                                 : kernels::Activation::kQuickGelu;
  v.antialias_positions = false;
  v.class_token = !siglip;
  v.pre_norm = !siglip;
  if (kind == Kind::kClip) return;
  if (kind == Kind::kSiglip) {
    if (!f.flag("vision_use_head", true)) fail("'vision_use_head' is false: without its head the tower has no vector");
    v.pooling = Pooling::kAttention;
    return;
  }
  v.pooling = Pooling::kAverage;
  v.final_norm = siglip;  // CLIP's classifier reads the mean of the patches before the last norm
}

void read_vit(const ConfigFields& f, Kind kind, VitConfig& v) {
  const bool dino = kind == Kind::kDinov2 || kind == Kind::kDinov2Registers;
  read_sizes(f, dino ? 14 : 16, v);
  v.qkv_bias = f.flag("qkv_bias", true);
  v.activation = f.activation();
  v.norm_eps = f.number("layer_norm_eps", dino ? 1e-6f : 1e-12f);
  v.antialias_positions = kind == Kind::kDinov2Registers;
  v.distilled = kind == Kind::kDeitTeacher;
  // Without its head the distillation token is a register: it takes part in attention, with a position of its own.
  if (kind == Kind::kDeit) v.reg_tokens = 1;
  if (!dino) {
    v.mlp_hidden = f.integer("intermediate_size", 3072, 1, kMaxWidth);
    return;
  }
  const float ratio = f.number("mlp_ratio", 4.0f);
  const double hidden = std::floor(static_cast<double>(v.embed_dim) * static_cast<double>(ratio));
  if (!(hidden >= 1.0 && hidden <= kMaxWidth)) fail("'mlp_ratio' {} makes no sense", ratio);
  v.mlp_hidden = static_cast<int>(hidden);
  v.swiglu = f.flag("use_swiglu_ffn", false);
  // Two thirds of the width, rounded up to a multiple of 8.
  if (v.swiglu) v.mlp_hidden = (static_cast<int>(v.mlp_hidden * 2.0 / 3.0) + 7) / 8 * 8;
  v.layer_scale = true;
  v.concat_pool = true;
  if (kind == Kind::kDinov2Registers) {
    v.reg_tokens = f.integer("num_register_tokens", 4, 0, 4096);
    v.no_embed_class = true;  // registers have no position; that of the class token is added to it (weight_names.cc)
  }
}

/// Rotary embeddings instead of learned ones, registers, q and v with a bias and k without.
void read_dinov3(const ConfigFields& f, ModelConfig& out) {
  VitConfig& v = out.vit;
  read_sizes(f, 16, v);
  if (f.find("hidden_size") == nullptr) v.embed_dim = 384;
  if (f.find("num_attention_heads") == nullptr) v.num_heads = 6;
  v.mlp_hidden = f.integer("intermediate_size", 1536, 1, kMaxWidth);
  v.norm_eps = f.number("layer_norm_eps", 1e-5f);
  v.activation = f.activation();
  v.swiglu = f.flag("use_gated_mlp", false);
  if (v.swiglu && v.activation != kernels::Activation::kSilu)
    fail("'hidden_act' of a gated MLP must be silu, the gate igq runs");
  v.positions = false;
  v.no_embed_class = true;
  v.rope = Rope::kDinov3;
  v.rope_theta = f.number("rope_theta", 100.0f);
  v.reg_tokens = f.integer("num_register_tokens", 0, 0, 4096);
  v.layer_scale = true;
  const bool query = f.flag("query_bias", true), key = f.flag("key_bias", false), value = f.flag("value_bias", true);
  v.qkv_bias = query || key || value;
  v.key_bias = key;
  for (const char* bias : {"proj_bias", "mlp_bias"})
    if (!f.flag(bias, true)) fail("'{}' is false, igq runs DINOv3 with these biases", bias);
  out.num_classes = 0;
  out.labels.clear();
}

void read_swin(const ConfigFields& f, const ModelConfig& config, SwinConfig& s) {
  const auto patch = f.pair("patch_size", 4, 4096);
  if (patch[0] != patch[1]) fail("'patch_size' {}x{} is not square", patch[0], patch[1]);
  s.patch_size = patch[0];
  s.embed_dim = f.integer("embed_dim", 96, 1, kMaxWidth);
  s.depths = f.integers("depths", {2, 2, 6, 2});
  s.num_heads = f.integers("num_heads", {3, 6, 12, 24});
  const int window = f.integer("window_size", 7, 1, 4096);
  s.window_size = {window, window};
  s.mlp_ratio = f.number("mlp_ratio", 4.0f);
  s.qkv_bias = f.flag("qkv_bias", true);
  s.norm_eps = f.number("layer_norm_eps", 1e-5f);
  s.pad_before_shift = true;
  if (f.flag("use_absolute_embeddings", false)) fail("'use_absolute_embeddings' is true, igq runs Swin without them");
  if (f.activation() != kernels::Activation::kGelu) fail("'hidden_act' of a Swin model must be gelu");
  // transformers takes 1e-5 for the norms of embedding and merging whatever the field says.
  if (s.norm_eps != 1e-5f) fail("'layer_norm_eps' of a Swin model is {}, igq runs 1e-5", s.norm_eps);
  int height = config.image_height / s.patch_size, width = config.image_width / s.patch_size;
  for (std::size_t stage = 0; stage < s.depths.size() && height != width; ++stage) {
    // It shrinks the windows of a grid by its shorter side, timm and igq by each side.
    if (std::min(height, width) <= window)
      fail("the image is not square and stage {} of Swin no larger than a window", stage);
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
}

/// transformers counts the names; without names it takes num_labels, 2 by default, which exports leave out.
void read_labels(const json& config, ModelConfig& out) {
  const json* names = json_find(config, "id2label");
  const json* count = json_find(config, "num_labels");
  if (names != nullptr && !names->is_object()) fail("'id2label' is not an object");
  if (names != nullptr)
    out.num_classes = static_cast<int>(std::min<std::size_t>(names->size(), kMaxWidth));
  else
    out.num_classes = count == nullptr ? 2 : static_cast<int>(json_int(*count, "num_labels", 0, kMaxWidth));
  if (names != nullptr) out.labels = labels_by_index(*names, "id2label", out.num_classes, out.notes);
}

/// transformers.pipelines.ImageClassificationPipeline.postprocess
Scores read_scores(const json& config, int classes) {
  const json* value = json_find(config, "problem_type");
  const std::string type = value == nullptr ? std::string() : json_string(*value, "problem_type");
  if (classes == 0) return Scores::kSoftmax;
  if (type == "regression") return Scores::kNone;
  if (type == "single_label_classification" && classes == 1)
    fail("'problem_type' single_label_classification needs more than one label; transformers refuses that too");
  if (type == "multi_label_classification" || classes == 1) return Scores::kSigmoid;
  if (type.empty() || type == "single_label_classification") return Scores::kSoftmax;
  fail(
      "'problem_type' is '{}', transformers has regression, single_label_classification and multi_label_classification",
      type);
}

}  // namespace

bool is_transformers_config(const json& config) {
  return config.is_object() && (config.contains("architectures") || config.contains("model_type"));
}

bool is_timm_wrapper(const json& config) {
  return config.is_object() && config.contains("model_type") && config["model_type"] == "timm_wrapper";
}

void check_transformers_class(const json& config) { find_class(config); }

void apply_pipeline(const json& config, ModelConfig& out) {
  out.preprocess.orientation = Orientation::kExif;
  out.scores = read_scores(config, out.num_classes);
}

ModelConfig transformers_config(const json& config, const json& preprocessor, bool other_size) {
  ModelConfig out;
  const ModelClass& model = find_class(config);
  out.architecture = model.name;
  const json* tower = is_clip_kind(model.kind) ? json_find(config, "vision_config") : nullptr;
  if (tower != nullptr && !tower->is_object()) fail("'vision_config' is not an object");
  const ConfigFields f(tower == nullptr ? config : *tower);
  out.family = model.kind == Kind::kSwin ? Family::kSwin : Family::kVit;
  const auto size = f.pair("image_size", 224, kMaxImage);
  out.in_channels = f.integer("num_channels", 3, 1, 4096);
  if (out.in_channels != 3) fail("the model takes {} channels, igq feeds it RGB images", out.in_channels);
  read_labels(config, out);
  const json* processor = json_find(config, "image_processor_type");
  std::array<int, 2> made{};
  try {
    made = processor_config(preprocessor,
                            processor == nullptr ? model.processor : json_string(*processor, "image_processor_type"),
                            out.preprocess);
  } catch (const Error& e) {
    fail("its image processor (preprocessor_config.json or processor_config.json): {}", e.what());
  }
  // ViT and DeiT take one size; the others any.
  const bool one_size = model.kind == Kind::kVit || model.kind == Kind::kDeit || model.kind == Kind::kDeitTeacher ||
                        is_clip_kind(model.kind);
  if (one_size && made != size && !other_size)
    fail(
        "the image processor makes {}x{} pixels, 'image_size' of the model is {}x{}: transformers refuses that too; "
        "mend "
        "preprocessor_config.json, or give --img-size",
        made[0], made[1], size[0], size[1]);
  out.image_height = made[0];
  out.image_width = made[1];
  apply_pipeline(config, out);
  if (model.kind == Kind::kDinov3)
    read_dinov3(f, out);
  else if (is_clip_kind(model.kind))
    read_clip(f, model.kind, out.vit);
  else if (out.family == Family::kVit)
    read_vit(f, model.kind, out.vit);
  else
    read_swin(f, out, out.swin);
  return out;
}

}  // namespace igq
