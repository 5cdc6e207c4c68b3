// Defaults as in transformers 5.24 (models/*/image_processing_pil_*.py); the rules are those of
// image_processing_utils.BaseImageProcessor and image_processing_backends.PilBackend.
#include "models/processor_config.h"

#include <cmath>
#include <string>

#include "base/fail.h"
#include "models/config_fields.h"

namespace igq {
namespace {

using nlohmann::json;

constexpr std::array<double, 3> kHalf = {0.5, 0.5, 0.5}, kImagenetMean = {0.485, 0.456, 0.406},
                                kImagenetStd = {0.229, 0.224, 0.225}, kClipMean = {0.48145466, 0.4578275, 0.40821073},
                                kClipStd = {0.26862954, 0.26130258, 0.27577711};

/// {height, width}, or {"shortest_edge"} with the aspect kept.
struct Size {
  int height = 0, width = 0, shortest = 0;
};

/// Processors that do nothing but these steps, with their defaults.
struct Processor {
  std::string_view name;
  Size size;
  bool integer_is_square;  ///< `size` as one number: both sides, or the shortest
  Interpolation resample;
  bool crop;
  Size crop_size;
  std::array<double, 3> mean, std;
};
constexpr std::array<Processor, 11> kProcessors{{
    {"ViTImageProcessor", {224, 224}, true, Interpolation::kBilinear, false, {}, kHalf, kHalf},
    {"DeiTImageProcessor", {256, 256}, true, Interpolation::kBicubic, true, {224, 224}, kHalf, kHalf},
    {"BitImageProcessor", {0, 0, 224}, false, Interpolation::kBicubic, true, {224, 224}, kClipMean, kClipStd},
    {"CLIPImageProcessor", {0, 0, 224}, false, Interpolation::kBicubic, true, {224, 224}, kClipMean, kClipStd},
    {"ChineseCLIPImageProcessor", {0, 0, 224}, false, Interpolation::kBicubic, true, {224, 224}, kClipMean, kClipStd},
    {"BlipImageProcessor", {384, 384}, true, Interpolation::kBicubic, false, {}, kClipMean, kClipStd},
    {"SiglipImageProcessor", {224, 224}, false, Interpolation::kBicubic, false, {}, kHalf, kHalf},
    {"DINOv3ViTImageProcessor", {224, 224}, true, Interpolation::kBilinear, false, {}, kImagenetMean, kImagenetStd},
    {"PvtImageProcessor", {224, 224}, true, Interpolation::kBicubic, false, {}, kImagenetMean, kImagenetStd},
    {"MobileNetV1ImageProcessor", {0, 0, 256}, false, Interpolation::kBilinear, true, {224, 224}, kHalf, kHalf},
    {"EfficientNetImageProcessor", {346, 346}, true, Interpolation::kBicubic, false, {289, 289}, kHalf, kHalf},
}};

/// The class's name without what older and newer versions add to it.
std::string plain_name(std::string name) {
  constexpr std::string_view kOld = "FeatureExtractor";
  if (name.ends_with(kOld)) name.replace(name.size() - kOld.size(), kOld.size(), "ImageProcessor");
  for (const std::string_view backend : {"Fast", "Pil"})
    if (name.ends_with(backend)) name.resize(name.size() - backend.size());
  return name;
}

const Processor& find_processor(const json& config, std::string_view default_class) {
  const json* type = json_find(config, "image_processor_type");
  if (type == nullptr) type = json_find(config, "feature_extractor_type");
  const std::string given = type == nullptr ? std::string(default_class) : json_string(*type, "image_processor_type");
  if (given.empty()) fail("'image_processor_type' is missing, and models of this type have no usual one");
  const std::string name = plain_name(given);
  std::string all;
  for (const Processor& known : kProcessors) {
    if (known.name == name) return known;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known.name);
  }
  fail("'image_processor_type' is {}, whose steps igq does not have: it follows {}", given, all);
}

/// A switch; null is Python's None, which is off whatever the class's default is.
bool is_on(const json& config, const char* name, bool otherwise) {
  const auto found = config.find(name);
  if (found == config.end()) return otherwise;
  return !found->is_null() && json_bool(*found, name);
}

/// A value that a step needs: nullptr when it is left out. Error for null, which transformers refuses too.
const json* needed(const json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end()) return nullptr;
  if (found->is_null()) fail("'{}' is null though a step needs it; transformers refuses that too", name);
  return &*found;
}

Interpolation read_resample(const json& value) {
  // PIL.Image.Resampling
  constexpr std::array<Interpolation, 6> kPil = {Interpolation::kNearest,  Interpolation::kLanczos,
                                                 Interpolation::kBilinear, Interpolation::kBicubic,
                                                 Interpolation::kBox,      Interpolation::kHamming};
  return kPil[static_cast<std::size_t>(json_int(value, "resample", 0, 5))];
}

/// transformers.image_processing_utils.get_size_dict: an integer, [height, width] or an object of one known set of
/// keys.
Size read_size(const json& value, const char* name, bool integer_is_square) {
  if (value.is_number()) {
    const int n = static_cast<int>(json_int(value, name, 1, kMaxImage));
    return integer_is_square ? Size{n, n, 0} : Size{0, 0, n};
  }
  if (value.is_array()) {
    const auto [height, width] = json_pair(value, name, 1, kMaxImage);
    return {height, width, 0};
  }
  if (!value.is_object()) fail("'{}' is neither an integer nor a list nor an object", name);
  for (const char* rule : {"longest_edge", "max_height", "max_width", "min_pixels", "max_pixels"})
    if (json_find(value, rule) != nullptr)
      fail("'{}' {} has {}, a rule that igq does not have", name, value.dump(), rule);
  for (const auto& [key, unused] : value.items())
    if (key != "height" && key != "width" && key != "shortest_edge" && !unused.is_null())
      fail("'{}' {} has a field '{}' that transformers does not know", name, value.dump(), key);
  const ConfigFields f(value);
  const Size size = {f.integer("height", 0, 1, kMaxImage), f.integer("width", 0, 1, kMaxImage),
                     f.integer("shortest_edge", 0, 1, kMaxImage)};
  const bool sides = size.height > 0 || size.width > 0, both = size.height > 0 && size.width > 0;
  if (sides != both || both == (size.shortest > 0))
    fail("'{}' {} is neither height and width nor shortest_edge", name, value.dump());
  return size;
}

/// Rescale and normalize as one step on pixels in [0, 1]: v * 255 * factor - offset, less the mean, over the deviation.
void fold_rescale(const json& config, bool efficientnet, PreprocessConfig& p) {
  const bool rescaled = is_on(config, "do_rescale", true), normalized = is_on(config, "do_normalize", true);
  const bool again = efficientnet && is_on(config, "include_top", true);  // divides by the deviation once more
  const json* factor = rescaled ? needed(config, "rescale_factor") : nullptr;
  if (normalized)
    if (const json* value = needed(config, "image_mean")) p.mean = json_rgb(*value, "image_mean");
  if (normalized || again)
    if (const json* value = needed(config, "image_std")) p.std = json_rgb(*value, "image_std");
  if (factor != nullptr) json_float(*factor, "rescale_factor");
  double scale = 255.0;
  if (rescaled) scale = factor == nullptr ? 1.0 : factor->get<double>() * 255.0;
  if (!(scale > 0.0)) fail("'rescale_factor' is {}, it must be above 0", scale / 255.0);
  if (std::abs(scale - 1.0) < 1e-9) scale = 1.0;
  const double offset = efficientnet && rescaled && is_on(config, "rescale_offset", false) ? 1.0 : 0.0;
  for (std::size_t c = 0; c < 3; ++c) {
    const double deviation = p.std[c];
    p.mean[c] = ((normalized ? p.mean[c] : 0.0) + offset) / scale;
    p.std[c] = (normalized ? deviation : 1.0) * (again ? deviation : 1.0) / scale;
  }
}

}  // namespace

std::array<int, 2> processor_config(const json& given, std::string_view default_class, PreprocessConfig& out) {
  static const json kEmpty = json::object();
  if (!given.is_object() && !given.is_null()) fail("it is not an object");
  const json& config = given.is_object() ? given : kEmpty;
  const Processor& processor = find_processor(config, default_class);
  Size size = processor.size, crop = processor.crop_size;
  out.interpolation = processor.resample;
  out.mean = processor.mean;
  out.std = processor.std;
  const bool square = is_on(config, "default_to_square", processor.integer_is_square);
  if (const json* value = needed(config, "size")) size = read_size(*value, "size", square);
  if (processor.name == "CLIPImageProcessor" && is_on(config, "use_square_size", false)) size = {224, 224, 0};
  if (const json* value = needed(config, "resample")) out.interpolation = read_resample(*value);
  if (!is_on(config, "do_resize", true)) fail("'do_resize' is false: igq resizes every image");
  if (const auto padded = config.find("pad_size");
      is_on(config, "do_pad", false) && padded != config.end() && !padded->is_null())
    fail("'do_pad' is true with a 'pad_size': igq does not pad images");  // without one an image is padded to its own
                                                                          // size
  fold_rescale(config, processor.name == "EfficientNetImageProcessor", out);
  if (is_on(config, "do_center_crop", processor.crop)) {
    if (const json* value = needed(config, "crop_size")) crop = read_size(*value, "crop_size", true);
    if (crop.height == 0) fail("'crop_size' does not give height and width");
  } else {
    if (size.shortest > 0)
      fail("'size' gives the shortest edge and nothing crops: the images would have different sizes");
    crop = size;
  }
  if (processor.name == "DINOv3ViTImageProcessor") {
    out.float_resize = true;
    if (out.interpolation != Interpolation::kBilinear || crop.height != size.height || crop.width != size.width)
      fail("a {} resizes otherwise than bilinear to the input size: igq does not do that in float", processor.name);
  }
  out.resize_height = size.height;
  out.resize_width = size.width;
  out.resize_short = size.shortest;
  return {crop.height, crop.width};
}

}  // namespace igq
