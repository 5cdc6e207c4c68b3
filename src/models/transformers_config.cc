#include "models/transformers_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "io/json_fields.h"
#include "models/config_values.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr int kMaxWidth = 1 << 20;
constexpr int kMaxImage = 1 << 16;

enum class Kind { kVit, kDeit, kDeitTeacher, kSwin, kDinov2, kDinov2Registers };
constexpr std::array<std::pair<std::string_view, Kind>, 6> kClasses{
    {{"ViTForImageClassification", Kind::kVit},
     {"DeiTForImageClassification", Kind::kDeit},
     {"DeiTForImageClassificationWithTeacher", Kind::kDeitTeacher},
     {"SwinForImageClassification", Kind::kSwin},
     {"Dinov2ForImageClassification", Kind::kDinov2},
     {"Dinov2WithRegistersForImageClassification", Kind::kDinov2Registers}}};

/// Fields of an object with the defaults of transformers' classes, whose exports may leave a default out.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}
  int integer(const char* name, int otherwise, int min, int max) const {
    const json* value = json_find(object_, name);
    return value == nullptr ? otherwise : static_cast<int>(json_int(*value, name, min, max));
  }
  float number(const char* name, float otherwise) const {
    const json* value = json_find(object_, name);
    return value == nullptr ? otherwise : json_float(*value, name);
  }
  bool flag(const char* name, bool otherwise) const {
    const json* value = json_find(object_, name);
    return value == nullptr ? otherwise : json_bool(*value, name);
  }
  std::array<int, 2> pair(const char* name, int otherwise, int max) const {
    const json* value = json_find(object_, name);
    return value == nullptr ? std::array<int, 2>{otherwise, otherwise} : json_pair(*value, name, 1, max);
  }
  std::vector<int> integers(const char* name, std::vector<int> otherwise) const {
    const json* value = json_find(object_, name);
    if (value == nullptr) return otherwise;
    std::vector<int> result;
    for (const json& v : json_array(*value, name, 8)) result.push_back(static_cast<int>(json_int(v, name, 1, 4096)));
    return result;
  }
  kernels::Activation activation() const {
    const json* value = json_find(object_, "hidden_act");
    return value == nullptr ? kernels::Activation::kGelu
                            : parse_activation(json_string(*value, "hidden_act"), "hidden_act");
  }

 private:
  const json& object_;
};

Kind parse_kind(const json& config, std::string& name) {
  const json* list = json_find(config, "architectures");
  if (list == nullptr || json_array(*list, "architectures", 16).empty()) {
    fail("'architectures' is missing: igq needs the name of the class that saved the model");
  }
  name = json_string(list->front(), "architectures");
  std::string all;
  for (const auto& [known, kind] : kClasses) {
    if (known == name) return kind;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known);
  }
  fail("'architectures' names {}, igq runs {}", name, all);
}

void read_vit(const Fields& f, Kind kind, VitConfig& v) {
  const bool dino = kind == Kind::kDinov2 || kind == Kind::kDinov2Registers;
  const auto patch = f.pair("patch_size", dino ? 14 : 16, 4096);
  v.patch_height = patch[0];
  v.patch_width = patch[1];
  v.embed_dim = f.integer("hidden_size", 768, 1, kMaxWidth);
  v.depth = f.integer("num_hidden_layers", 12, 1, 4096);
  v.num_heads = f.integer("num_attention_heads", 12, 1, 4096);
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

void read_swin(const Fields& f, const ModelConfig& config, SwinConfig& s) {
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

std::vector<std::string> read_labels(const json& config, int& classes) {
  const json* names = json_find(config, "id2label");
  const json* count = json_find(config, "num_labels");
  classes = 2;  // transformers leaves its default of two labels out
  if (names != nullptr && !names->is_object()) fail("'id2label' is not an object");
  if (names != nullptr)
    classes = static_cast<int>(names->size());
  else if (count != nullptr)
    classes = static_cast<int>(json_int(*count, "num_labels", 0, kMaxWidth));
  if (classes == 0) fail("the model has no labels, hence no classification head; give one that was fine-tuned");
  if (names == nullptr) return {};
  return labels_by_index(*names, "id2label", classes);
}

Interpolation read_resample(const json& value) {
  // PIL.Image.Resampling
  constexpr std::array<Interpolation, 6> kPil = {Interpolation::kNearest,  Interpolation::kLanczos,
                                                 Interpolation::kBilinear, Interpolation::kBicubic,
                                                 Interpolation::kBox,      Interpolation::kHamming};
  return kPil[static_cast<std::size_t>(json_int(value, "resample", 0, 5))];
}

/// `size` and `crop_size`: an integer, {"height", "width"} or {"shortest_edge"}.
struct Size {
  int height = 0, width = 0, shortest = 0;
};

Size read_size(const json& value, const char* name, bool integer_is_shortest) {
  if (value.is_number()) {
    const int n = static_cast<int>(json_int(value, name, 1, kMaxImage));
    return integer_is_shortest ? Size{0, 0, n} : Size{n, n, 0};
  }
  if (!value.is_object()) fail("'{}' is neither an integer nor an object", name);
  const Fields f(value);
  if (value.contains("longest_edge") || value.contains("max_height"))
    fail("'{}' {} is a rule that igq does not have", name, value.dump());
  const Size size = {f.integer("height", 0, 1, kMaxImage), f.integer("width", 0, 1, kMaxImage),
                     f.integer("shortest_edge", 0, 1, kMaxImage)};
  const bool both = size.height > 0 && size.width > 0;
  if (both == (size.shortest > 0)) fail("'{}' {} has neither height and width nor shortest_edge", name, value.dump());
  return size;
}

/// What an image processor does: resize, centre crop, 1/255, normalize. The image size of `out` becomes that of its
/// output.
void read_preprocessor(const json& in, Kind kind, ModelConfig& out) {
  static const json kEmpty = json::object();
  const bool given = in.is_object();
  if (!given && !in.is_null()) fail("preprocessor_config.json is not an object");
  const json& config = given ? in : kEmpty;
  const Fields f(config);
  const bool dino = kind == Kind::kDinov2 || kind == Kind::kDinov2Registers,
             deit = kind == Kind::kDeit || kind == Kind::kDeitTeacher;
  PreprocessConfig& p = out.preprocess;
  // The classes' own defaults; ImageNet's colours are what the published DINOv2 and Swin checkpoints use.
  p.interpolation = kind == Kind::kVit ? Interpolation::kBilinear : Interpolation::kBicubic;
  if (!dino && kind != Kind::kSwin) p.mean = p.std = {0.5f, 0.5f, 0.5f};
  const int h = out.image_height, w = out.image_width;
  Size size = deit ? Size{h * 8 / 7, w * 8 / 7, 0} : dino ? Size{0, 0, std::min(h, w) * 8 / 7} : Size{h, w, 0};
  Size crop = {h, w, 0};
  bool cropped = deit || dino;

  const json* type = json_find(config, "image_processor_type");
  if (type == nullptr) type = json_find(config, "feature_extractor_type");
  const std::string processor = type == nullptr ? std::string() : json_string(*type, "image_processor_type");
  const bool by_shortest =
      processor.starts_with("Bit") || processor.starts_with("CLIP") || processor.starts_with("ConvNext");
  if (given) cropped = f.flag("do_center_crop", deit || by_shortest);
  if (processor.starts_with("ConvNext"))
    fail("'image_processor_type' {} resizes in a way that igq does not have", processor);
  if (const json* value = json_find(config, "size")) size = read_size(*value, "size", by_shortest);
  if (const json* value = json_find(config, "crop_size")) crop = read_size(*value, "crop_size", false);
  if (const json* value = json_find(config, "resample")) p.interpolation = read_resample(*value);
  if (const json* value = json_find(config, "image_mean")) p.mean = json_rgb(*value, "image_mean");
  if (const json* value = json_find(config, "image_std")) p.std = json_rgb(*value, "image_std");
  if (!f.flag("do_resize", true)) fail("'do_resize' is false: igq resizes every image");
  if (!f.flag("do_rescale", true)) fail("'do_rescale' is false, igq divides by 255");
  if (std::abs(f.number("rescale_factor", 1.0f / 255.0f) * 255.0f - 1.0f) > 1e-4f)
    fail("'rescale_factor' is not 1/255");
  if (!f.flag("do_normalize", true)) {
    p.mean = {0.0f, 0.0f, 0.0f};
    p.std = {1.0f, 1.0f, 1.0f};
  }
  if (!cropped) {
    if (size.shortest > 0)
      fail("'size' gives the shortest edge and nothing crops: the images would have different sizes");
    crop = size;
  }
  if (crop.shortest > 0) crop = {crop.shortest, crop.shortest, 0};
  p.resize_height = size.height;
  p.resize_width = size.width;
  p.resize_short = size.shortest;
  out.image_height = crop.height;
  out.image_width = crop.width;
}

}  // namespace

bool is_transformers_config(const json& config) {
  return config.is_object() && (config.contains("architectures") || config.contains("model_type"));
}

ModelConfig transformers_config(const json& config, const json& preprocessor) {
  ModelConfig out;
  const Kind kind = parse_kind(config, out.architecture);
  const Fields f(config);
  out.family = kind == Kind::kSwin ? Family::kSwin : Family::kVit;
  const auto size = f.pair("image_size", 224, kMaxImage);
  out.image_height = size[0];
  out.image_width = size[1];
  out.in_channels = f.integer("num_channels", 3, 1, 4096);
  if (out.in_channels != 3) fail("the model takes {} channels, igq feeds it RGB images", out.in_channels);
  out.labels = read_labels(config, out.num_classes);
  read_preprocessor(preprocessor, kind, out);
  if (out.family == Family::kVit)
    read_vit(f, kind, out.vit);
  else
    read_swin(f, out, out.swin);
  return out;
}

}  // namespace igq
