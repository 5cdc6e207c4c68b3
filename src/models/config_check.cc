#include "models/config_check.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/fail.h"
#include "models/swin.h"

namespace igq {
namespace {

void check_positive(double value, std::string_view name) {
  if (!(value > 0.0)) fail("'{}' is {}, it must be above 0", name, value);
}

void check_eps(float eps) {
  check_positive(static_cast<double>(eps), "norm_eps");
  if (!std::isnormal(eps) || eps > 1.0f) fail("'norm_eps' is {}, no number that a layer norm can use", eps);
}

void check_preprocess(const ModelConfig& c) {
  const PreprocessConfig& p = c.preprocess;
  check_positive(p.crop_pct, "crop_pct");
  if ((p.resize_height == 0) != (p.resize_width == 0))
    fail("the resize size {} x {} lacks a side", p.resize_height, p.resize_width);
  if (p.resize_height == 0 && p.resize_short == 0) {
    for (const int side : {c.image_height, c.image_width}) {
      const double resized = std::floor(side / p.crop_pct);
      if (!(resized >= 1.0 && resized <= kMaxResizedSide))
        fail("'crop_pct' {} is not usable for an input of {} pixels; it is a fraction like 0.9", p.crop_pct, side);
    }
  }
  if (p.float_resize && (p.resize_height != c.image_height || p.resize_width != c.image_width ||
                         p.interpolation != Interpolation::kBilinear))
    fail("'float_resize' goes to the input size, bilinear");
  for (std::size_t i = 0; i < 3; ++i) {
    // As normalize() divides: in float.
    const auto mean = static_cast<float>(p.mean[i]), std = static_cast<float>(p.std[i]);
    check_positive(static_cast<double>(std), "std");
    if (!std::isnormal(std) || !std::isnormal(1.0f / std))
      fail("'std' is {}, no number that pixels can be divided by", std);
    if (!std::isfinite((0.0f - mean) / std) || !std::isfinite((1.0f - mean) / std))
      fail("'mean' {} and 'std' {} make pixels infinite", mean, std);
  }
}

void check_scores(std::int64_t scores) {
  if (scores > kMaxScores)
    fail("its attentions over one image of this size have {} scores, at most {} are allowed", scores, kMaxScores);
}

void check_activation(std::int64_t rows, std::int64_t width, std::string_view what) {
  if (rows > kMaxValues / width)
    fail("{} of {} x {} values for an image of this size is more than the {} allowed", what, rows, width, kMaxValues);
}

void check_vit(const ModelConfig& c) {
  const VitConfig& v = c.vit;
  check_eps(v.norm_eps);
  if (v.embed_dim % v.num_heads != 0) fail("'num_heads' {} does not divide 'embed_dim' {}", v.num_heads, v.embed_dim);
  if (c.image_height < v.patch_height || c.image_width < v.patch_width)
    fail("'image_height' or 'image_width' is smaller than one patch");
  if (v.rope != Rope::kNone) {
    if (v.embed_dim / v.num_heads % 4 != 0)
      fail("rotary embeddings need heads of a multiple of 4 channels, these have {}", v.embed_dim / v.num_heads);
    check_positive(static_cast<double>(v.rope_theta), "rope_theta");
  }
  if (v.mlp_norm && !v.swiglu) fail("'mlp_norm' belongs to gated MLPs ('swiglu')");
  const bool token = v.pooling == Pooling::kToken;
  if (token && !v.class_token) fail("'pooling' is token and 'class_token' false: nothing to classify");
  if (v.distilled && (!token || v.concat_pool)) fail("'pooling' of a distilled model must be token");
  if (v.distilled && (v.projection > 0 || v.unit_head))
    fail("a distilled model has neither 'projection' nor 'unit_head'");
  if (v.pooling == Pooling::kAttention && (v.swiglu || v.fc_norm))
    fail("'pooling' by attention goes with plain MLPs and without 'fc_norm'");
  if (v.concat_pool && !token) fail("'concat_pool' takes the class token, 'pooling' does not");

  const std::int64_t patches = std::int64_t{c.image_height / v.patch_height} * (c.image_width / v.patch_width);
  const std::int64_t others = (v.class_token ? 1 : 0) + (v.distilled ? 1 : 0) + v.reg_tokens + v.detection_tokens;
  const std::int64_t tokens = patches + others;
  if (tokens > kMaxTokens)
    fail("the image has {} patches and {} tokens more, {} are allowed", patches, others, kMaxTokens);
  check_scores(tokens * tokens * v.num_heads * v.depth);  // below 2^29 * 2^12 * 2^12
  const std::int64_t hidden = (v.swiglu ? 2 : 1) * std::int64_t{v.mlp_hidden};
  check_activation(tokens, std::max(std::int64_t{3} * v.embed_dim, hidden), "an activation");
}

/// Values of the relative position biases of a block: windows differ in what is masked at the borders of the image.
std::int64_t bias_values(std::int64_t area, std::int64_t heads, bool shifted) {
  constexpr std::int64_t kPatterns = 4;  // at neither border, at the lower, at the right one, at both
  return (shifted ? kPatterns : 1) * heads * area * area;
}

void check_swin(const ModelConfig& c) {
  const SwinConfig& s = c.swin;
  if (!s.fixed_window && (c.image_height % s.patch_size != 0 || c.image_width % s.patch_size != 0)) {
    fail("the image size {}x{} is not a multiple of 'patch_size' {}", c.image_height, c.image_width, s.patch_size);
  }
  check_eps(s.norm_eps);
  check_positive(static_cast<double>(s.mlp_ratio), "mlp_ratio");
  if (s.depths.empty() || s.depths.size() > 8 || s.depths.size() != s.num_heads.size()) {
    fail("'depths' and 'num_heads' need one entry per stage, 1 to 8 stages");
  }
  std::int64_t height = (c.image_height + s.patch_size - 1) / s.patch_size;
  std::int64_t width = (c.image_width + s.patch_size - 1) / s.patch_size;
  if (height * width > kMaxSwinPatches)
    fail("the image has {} patches, at most {} are allowed", height * width, kMaxSwinPatches);
  std::int64_t scores = 0, held = 0;
  for (std::size_t stage = 0; stage < s.depths.size(); ++stage) {
    const std::int64_t channels = std::int64_t{s.embed_dim} << stage, heads = s.num_heads[stage];
    if (channels % heads != 0)
      fail("'num_heads' {} does not divide the {} channels of stage {}", heads, channels, stage);
    const double hidden = static_cast<double>(channels) * static_cast<double>(s.mlp_ratio);
    if (channels > kMaxWidth || hidden > static_cast<double>(kMaxWidth) ||
        swin_mlp_hidden(s, static_cast<int>(channels)) < 1)
      fail("stage {} has {} channels and {:.0f} hidden ones, 1 to {} are possible", stage, channels, hidden, kMaxWidth);
    const auto fitted = [&s](std::int64_t side, int window) {
      return s.fixed_window ? std::int64_t{window} : std::min<std::int64_t>(side, window);
    };
    const std::int64_t window_h = fitted(height, s.window_size[0]), window_w = fitted(width, s.window_size[1]);
    const std::int64_t area = window_h * window_w;
    if (area > kMaxWindowTokens)
      fail("a window of {} x {} has more tokens than the {} allowed", window_h, window_w, kMaxWindowTokens);
    const std::int64_t rows = (height + window_h - 1) / window_h * ((width + window_w - 1) / window_w) * area;
    check_activation(rows, std::max({3 * channels, 4 * channels, static_cast<std::int64_t>(hidden)}), "an activation");
    const std::int64_t depth = s.depths[stage];
    scores += rows * area * heads * depth;  // below 2^20 * 2^12 * 2^12 * 2^12
    held += depth * 3 * rows + (depth + 1) / 2 * bias_values(area, heads, false) +
            depth / 2 * bias_values(area, heads, true);
    check_scores(scores);
    if (held > kMaxValues)
      fail("the relative position biases of its windows have {} values, at most {} are allowed", held, kMaxValues);
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
}

}  // namespace

void check_config(const ModelConfig& config) {
  if (config.in_channels != 3) fail("the model takes {} channels, igq feeds it RGB images", config.in_channels);
  if (std::int64_t{config.image_height} * config.image_width > kMaxInputPixels)
    fail("images of {} x {} pixels are larger than the {} pixels allowed", config.image_height, config.image_width,
         kMaxInputPixels);
  check_preprocess(config);
  config.family == Family::kVit ? check_vit(config) : check_swin(config);
  if (!config.labels.empty() && config.labels.size() != static_cast<std::size_t>(config.num_classes))
    fail("'labels' has {} entries for {} classes", config.labels.size(), config.num_classes);
}

}  // namespace igq
