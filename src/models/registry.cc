#include "models/registry.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "base/fail.h"
#include "models/model.h"
#include "models/registry_entry.h"
#include "models/swin.h"

namespace igq {
namespace {

using namespace registry;

template <typename Entry>
const Entry* find_entry(std::span<const Entry> entries, std::string_view name) {
  const auto before = [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; };
  const auto at = std::lower_bound(entries.begin(), entries.end(), name, before);
  return at != entries.end() && at->name == name ? &*at : nullptr;
}

void set_colours(PreprocessConfig& preprocess, Colours colours) {
  switch (colours) {
    case Colours::kImagenet:
      preprocess.mean = {0.485, 0.456, 0.406};
      preprocess.std = {0.229, 0.224, 0.225};
      break;
    case Colours::kInception:
      preprocess.mean = preprocess.std = {0.5, 0.5, 0.5};
      break;
    case Colours::kClip:
      preprocess.mean = {0.48145466, 0.4578275, 0.40821073};
      preprocess.std = {0.26862954, 0.26130258, 0.27577711};
      break;
    case Colours::kUnit:
      preprocess.mean = {0.0, 0.0, 0.0};
      preprocess.std = {1.0, 1.0, 1.0};
      break;
    case Colours::kSatellite:
      preprocess.mean = {0.43, 0.411, 0.296};
      preprocess.std = {0.213, 0.156, 0.143};
      break;
  }
}

void set_input(ModelConfig& config, const InputEntry& input) {
  config.image_height = config.image_width = input.size;
  config.num_classes = input.classes;
  config.preprocess.interpolation = input.interpolation;
  config.preprocess.crop_pct = input.crop_pct;
  config.preprocess.crop_mode = input.crop_mode;
  set_colours(config.preprocess, input.colours);
}

VitConfig vit_config(const VitEntry& entry) {
  const auto has = [&](Trait trait) { return (entry.traits & trait) != 0; };
  VitConfig vit;
  vit.patch_height = vit.patch_width = entry.patch;
  vit.embed_dim = entry.width;
  vit.depth = entry.depth;
  vit.num_heads = entry.heads;
  vit.mlp_hidden = entry.mlp_hidden;
  vit.class_token = !has(kNoClassToken);
  vit.distilled = has(kDistilled);
  vit.reg_tokens = entry.registers;
  vit.no_embed_class = has(kPatchPositions);
  vit.qkv_bias = !has(kNoQkvBias);
  vit.layer_scale = has(kLayerScale);
  vit.pre_norm = has(kPreNorm);
  vit.final_norm = !has(kNoNorm);
  vit.fc_norm = has(kFcNorm);
  vit.swiglu = has(kSwiglu);
  vit.pooling = has(kAveragePool) ? Pooling::kAverage : has(kAttentionPool) ? Pooling::kAttention : Pooling::kToken;
  vit.key_bias = !has(kNoKeyBias);
  vit.positions = !has(kNoPositions);
  if (has(kRopeDinov3)) vit.rope = Rope::kDinov3;
  if (has(kRopeEva)) {
    vit.rope = Rope::kEva;
    vit.rope_theta = 10000.0f;
  }
  vit.mlp_norm = has(kMlpNorm);
  vit.norm_eps = entry.norm_eps;
  vit.activation = entry.activation;
  return vit;
}

SwinConfig swin_config(const SwinEntry& entry) {
  SwinConfig swin;
  swin.patch_size = entry.patch;
  swin.embed_dim = entry.width;
  swin.depths.assign(std::begin(entry.depths), std::end(entry.depths));
  swin.num_heads.assign(std::begin(entry.heads), std::end(entry.heads));
  swin.window_size = {entry.window, entry.window};
  return swin;
}

/// Insertions, deletions and exchanges of characters that turn a into b (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t exchanged = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({exchanged, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest_names(std::string_view name, std::vector<std::string> known) {
  const std::size_t count = std::min<std::size_t>(known.size(), 5);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (std::string& k : known) ranked.emplace_back(edit_distance(name, k), std::move(k));
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + ranked[i].second;
  return text;
}

SiteShape fc_shape(std::string name, std::int64_t rows, std::int64_t in, std::int64_t out, bool first_or_last = false) {
  SiteShape shape;
  shape.name = std::move(name);
  shape.first_or_last = first_or_last;
  shape.rows = rows;
  shape.in = in;
  shape.out = out;
  return shape;
}

SiteShape attention_shape(std::string name, std::int64_t windows, std::int64_t heads, std::int64_t tokens,
                          std::int64_t keys, std::int64_t head_dim) {
  SiteShape shape;
  shape.name = std::move(name);
  shape.attention = true;
  shape.windows = windows;
  shape.heads = heads;
  shape.tokens = tokens;
  shape.keys = keys;
  shape.head_dim = head_dim;
  return shape;
}

/// The five sites of a transformer block; rows of the attention (windows * tokens) and of the MLP differ when windows
/// are padded.
void add_block(std::vector<SiteShape>& shapes, const std::string& block, std::int64_t windows, std::int64_t tokens,
               std::int64_t rows, std::int64_t dim, std::int64_t heads, std::int64_t hidden, bool swiglu) {
  shapes.push_back(fc_shape(block + ".attn.qkv", windows * tokens, dim, 3 * dim));
  shapes.push_back(attention_shape(block + ".attn", windows, heads, tokens, tokens, dim / heads));
  shapes.push_back(fc_shape(block + ".attn.proj", windows * tokens, dim, dim));
  shapes.push_back(fc_shape(block + ".mlp.fc1", rows, dim, swiglu ? 2 * hidden : hidden));
  shapes.push_back(fc_shape(block + ".mlp.fc2", rows, hidden, dim));
}

std::vector<SiteShape> vit_shapes(const ModelConfig& config) {
  const VitConfig& v = config.vit;
  const std::int64_t grid_h = config.image_height / v.patch_height, grid_w = config.image_width / v.patch_width;
  const std::int64_t patches = grid_h * grid_w, pixels = std::int64_t{v.patch_height} * v.patch_width;
  const std::int64_t tokens = patches + (v.class_token ? 1 : 0) + (v.distilled ? 1 : 0) + v.reg_tokens;
  const std::int64_t head_in = embedding_width(config);
  std::vector<SiteShape> shapes;
  shapes.push_back(fc_shape("patch_embed.proj", patches, config.in_channels * pixels, v.embed_dim, true));
  for (int i = 0; i < v.depth; ++i)
    add_block(shapes, fmt::format("blocks.{}", i), 1, tokens, tokens, v.embed_dim, v.num_heads, v.mlp_hidden, v.swiglu);
  if (v.pooling == Pooling::kAttention) {
    shapes.push_back(fc_shape("attn_pool.kv", patches, v.embed_dim, 2 * v.embed_dim));
    shapes.push_back(attention_shape("attn_pool.attn", 1, v.num_heads, 1, patches, v.embed_dim / v.num_heads));
    shapes.push_back(fc_shape("attn_pool.proj", 1, v.embed_dim, v.embed_dim));
    shapes.push_back(fc_shape("attn_pool.mlp.fc1", 1, v.embed_dim, v.mlp_hidden));
    shapes.push_back(fc_shape("attn_pool.mlp.fc2", 1, v.mlp_hidden, v.embed_dim));
  }
  if (v.projection > 0) shapes.push_back(fc_shape("projection", 1, pooled_width(v), v.projection, true));
  if (config.num_classes == 0) return shapes;
  shapes.push_back(fc_shape("head", 1, head_in, config.num_classes, true));
  if (v.distilled) shapes.push_back(fc_shape("head_dist", 1, head_in, config.num_classes, true));
  return shapes;
}

std::vector<SiteShape> swin_shapes(const ModelConfig& config) {
  const SwinConfig& s = config.swin;
  std::int64_t h = config.image_height / s.patch_size, w = config.image_width / s.patch_size, dim = s.embed_dim;
  const std::int64_t pixels = std::int64_t{s.patch_size} * s.patch_size;
  std::vector<SiteShape> shapes;
  shapes.push_back(fc_shape("patch_embed.proj", h * w, config.in_channels * pixels, dim, true));
  for (std::size_t stage = 0; stage < s.depths.size(); ++stage) {
    if (stage > 0) {
      h = (h + 1) / 2;
      w = (w + 1) / 2;
      shapes.push_back(fc_shape(fmt::format("layers.{}.downsample.reduction", stage), h * w, 4 * dim, 2 * dim));
      dim *= 2;
    }
    const std::int64_t window_h = std::min<std::int64_t>(h, s.window_size[0]);
    const std::int64_t window_w = std::min<std::int64_t>(w, s.window_size[1]);
    const std::int64_t windows = ((h + window_h - 1) / window_h) * ((w + window_w - 1) / window_w);
    const auto hidden = std::int64_t{swin_mlp_hidden(s, static_cast<int>(dim))};
    for (int i = 0; i < s.depths[stage]; ++i)
      add_block(shapes, fmt::format("layers.{}.blocks.{}", stage, i), windows, window_h * window_w, h * w, dim,
                s.num_heads[stage], hidden, false);
  }
  if (config.num_classes > 0) shapes.push_back(fc_shape("head.fc", 1, dim, config.num_classes, true));
  return shapes;
}

}  // namespace

std::optional<ModelConfig> find_architecture(std::string_view name) {
  const std::string_view architecture = name.substr(0, name.find('.'));
  ModelConfig config;
  config.architecture = name;
  if (const VitEntry* vit = find_entry(vits(), architecture)) {
    config.family = Family::kVit;
    config.vit = vit_config(*vit);
    set_input(config, vit->input);
  } else if (const SwinEntry* swin = find_entry(swins(), architecture)) {
    config.family = Family::kSwin;
    config.swin = swin_config(*swin);
    set_input(config, swin->input);
  } else {
    return std::nullopt;
  }
  if (architecture != name) {
    const TagEntry* tag = find_entry(tags(), name);
    if (tag == nullptr) return std::nullopt;
    config.architecture = architecture;
    set_input(config, tag->input);
  }
  return config;
}

ModelConfig architecture_config(std::string_view name) {
  if (auto config = find_architecture(name)) return *std::move(config);
  const std::string_view architecture = name.substr(0, name.find('.'));
  if (find_architecture(architecture)) {
    std::vector<std::string> known{std::string(architecture)};
    for (const TagEntry& tag : tags())
      if (std::string_view(tag.name).starts_with(std::string(architecture) + ".")) known.emplace_back(tag.name);
    fail("'{}' is not a pretrained tag that timm lists; nearest: {}", name, nearest_names(name, std::move(known)));
  }
  fail("unknown architecture '{}'; nearest: {}; `igq inspect --list` prints all", name,
       nearest_names(architecture, list_architectures()));
}

std::vector<std::string> list_architectures() {
  std::vector<std::string> names;
  for (const VitEntry& vit : vits()) names.emplace_back(vit.name);
  for (const SwinEntry& swin : swins()) names.emplace_back(swin.name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<SiteShape> site_shapes(const ModelConfig& config) {
  return config.family == Family::kSwin ? swin_shapes(config) : vit_shapes(config);
}

std::int64_t count_parameters(const ModelConfig& config) {
  std::int64_t total = 0;
  for (const auto& [name, shape] : expected_tensors(config))
    total += std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  const VitConfig& v = config.vit;
  if (config.family == Family::kVit && v.qkv_bias && !v.key_bias) total -= std::int64_t{v.depth} * v.embed_dim;
  return total;
}

std::int64_t count_macs(const ModelConfig& config) {
  std::int64_t total = 0;
  for (const SiteShape& shape : site_shapes(config)) total += shape.macs();
  return total;
}

}  // namespace igq
