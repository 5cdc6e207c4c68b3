#include "models/weight_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/finite.h"
#include "models/clip_names.h"
#include "models/name_rules.h"
#include "models/relative_bias.h"
#include "models/swin.h"
#include "models/weight_parts.h"

namespace igq {
namespace {

/// Wrappers at the beginning: Lightning, DataParallel, transformers' TimmWrapper.
constexpr std::array<std::string_view, 4> kWrappers = {"model.", "module.", "timm_model.", "base_model."};
/// Wrappers anywhere: torch.compile, activation checkpointing, FSDP.
constexpr std::array<std::string_view, 4> kInnerWrappers = {"_orig_mod.", "_checkpoint_wrapped_module.",
                                                            "_fsdp_wrapped_module.", "_forward_module."};
constexpr std::array<std::string_view, 5> kTransformersModels = {"vit.", "deit.", "swin.", "dinov2.",
                                                                 "dinov2_with_registers."};

/// At the beginning of a name.
constexpr std::array<NameRule, 14> kTransformersStarts{
    {{"embeddings.cls_token", "cls_token"},
     {"embeddings.distillation_token", "dist_token"},
     {"embeddings.register_tokens", "register_tokens"},
     {"embeddings.position_embeddings", "pos_embed"},
     {"embeddings.patch_embeddings.projection.", "patch_embed.proj."},
     {"embeddings.patch_embeddings.", "patch_embed.proj."},
     {"embeddings.norm.", "patch_embed.norm."},
     {"encoder.layer.", "blocks."},
     {"layer.", "blocks."},
     {"encoder.layers.", "layers."},
     {"layernorm.", "norm."},
     {"classifier.", "head."},
     {"cls_classifier.", "head."},
     {"distillation_classifier.", "head_dist."}}};
/// Anywhere; transformers 5 writes the latter where save_original_format is off.
constexpr std::array<NameRule, 23> kTransformersParts{{{".attention.attention.query.", ".attn.q."},
                                                       {".attention.attention.key.", ".attn.k."},
                                                       {".attention.attention.value.", ".attn.v."},
                                                       {".attention.self.query.", ".attn.q."},
                                                       {".attention.self.key.", ".attn.k."},
                                                       {".attention.self.value.", ".attn.v."},
                                                       {".attention.self.", ".attn."},
                                                       {".attention.relative_position_bias.", ".attn."},
                                                       {".attention.q_proj.", ".attn.q."},
                                                       {".attention.k_proj.", ".attn.k."},
                                                       {".attention.v_proj.", ".attn.v."},
                                                       {".attention.o_proj.", ".attn.proj."},
                                                       {".mlp.gate_proj.", ".mlp.fc1_g."},
                                                       {".mlp.down_proj.", ".mlp.fc2."},
                                                       {".attention.output.dense.", ".attn.proj."},
                                                       {".intermediate.dense.", ".mlp.fc1."},
                                                       {".output.dense.", ".mlp.fc2."},
                                                       {".layernorm_before.", ".norm1."},
                                                       {".layernorm_after.", ".norm2."},
                                                       {".layer_scale1.lambda1", ".ls1.gamma"},
                                                       {".layer_scale2.lambda1", ".ls2.gamma"},
                                                       {".mlp.weights_in.", ".mlp.fc1."},
                                                       {".mlp.weights_out.", ".mlp.fc2."}}};
/// DINOv2's and DeiT-III's own releases, and timm's Eva.
constexpr std::array<NameRule, 7> kReleaseParts{{{".mlp.w12.", ".mlp.fc1."},
                                                 {".mlp.w3.", ".mlp.fc2."},
                                                 {".gamma_1", ".ls1.gamma"},
                                                 {".gamma_2", ".ls2.gamma"},
                                                 {".attn.q_proj.", ".attn.q."},
                                                 {".attn.k_proj.", ".attn.k."},
                                                 {".attn.v_proj.", ".attn.v."}}};

/// What training put before the names of the whole model: the text before the patch embedding of the one model there
/// is. Error when there are two, as in checkpoints of a student with its teacher.
std::string common_prefix(const TensorSource& stored) {
  std::vector<std::string> found;
  for (const auto& [name, shape] : stored.shapes()) {
    if (name.find(".lora_A.") != std::string::npos)
      fail("{} holds an adapter (LoRA) that is not merged ('{}'): merge it first (peft: merge_and_unload)",
           stored.origin(), name);
    for (const std::string_view part : {"patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight",
                                        "embeddings.patch_embeddings.weight"})
      if (name.ends_with(part)) found.push_back(name.substr(0, name.size() - part.size()));
  }
  if (found.size() > 1)
    fail("{} holds {} models, '{}' and '{}': keep the tensors of one of them", stored.origin(), found.size(), found[0],
         found[1]);
  return found.empty() ? std::string() : found.front();
}

/// The name without wrappers and without `prefix`, or, for what stands beside the model (its head), without the part of
/// `prefix` before the model's own name.
std::string bare_name(std::string name, std::string_view prefix) {
  std::string_view outer = prefix;
  for (const std::string_view model : kTransformersModels)
    if (outer.ends_with(model)) {
      outer.remove_suffix(model.size());
      break;
    }
  if (!strip_start(name, prefix)) strip_start(name, outer);
  for (const std::string_view wrapper : kInnerWrappers)
    for (std::size_t at = name.find(wrapper); at != std::string::npos; at = name.find(wrapper, at))
      name.erase(at, wrapper.size());
  while (std::any_of(kWrappers.begin(), kWrappers.end(), [&](std::string_view w) { return strip_start(name, w); }))
    continue;
  return name;
}

/// Buffers, and weights of training objectives and of heads that classification does not use.
bool ignored(const std::string& name) {
  constexpr std::array<std::string_view, 5> kEnds = {"relative_position_index", "attn_mask", "mask_token",
                                                     "position_ids", "num_batches_tracked"};
  return std::any_of(kEnds.begin(), kEnds.end(), [&](std::string_view end) { return name.ends_with(end); }) ||
         name.starts_with("pooler.") || name.starts_with("pre_logits.") || name == "n_averaged";
}

/// "layers.<i>.downsample." -> "layers.<i + 1>.downsample.": from the end of a stage to the start of the next.
void move_downsample(std::string& name) {
  int stage = 0;
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return;
  const char* begin = name.data() + kLayers.size();
  const auto parsed = std::from_chars(begin, name.data() + name.size(), stage);
  const std::string rest(parsed.ptr, static_cast<std::size_t>(name.data() + name.size() - parsed.ptr));
  if (parsed.ec != std::errc() || !rest.starts_with(".downsample.")) return;
  name = fmt::format("layers.{}{}", stage + 1, rest);
}

TensorNames timm_names(const TensorSource& stored, const ModelConfig& config) {
  const std::string prefix = common_prefix(stored);
  std::vector<std::pair<std::string, std::string>> names;  // renamed so far, stored
  for (const auto& [name, shape] : stored.shapes()) {
    names.emplace_back(bare_name(name, prefix), name);
  }
  const auto any = [&](std::string_view part) {
    return std::any_of(names.begin(), names.end(),
                       [&](const auto& n) { return n.first.find(part) != std::string::npos; });
  };
  const bool swin = config.family == Family::kSwin;
  const bool transformers = any("embeddings.patch_embeddings.");
  const bool gated = any(".mlp.gate_proj.");
  const bool downsample_ends = transformers || any("layers.0.downsample.");
  TensorNames result;
  for (auto& [name, from] : names) {
    if (transformers) {
      for (const std::string_view model : kTransformersModels) {
        if (strip_start(name, model)) break;
      }
      replace_start(name, kTransformersStarts);
      for (const NameRule& rule : kTransformersParts) replace_part(name, rule);
      if (!swin && strip_start(name, "layers.")) name.insert(0, "blocks.");
      replace_part(name, {".mlp.up_proj.", gated ? ".mlp.fc1_x." : ".mlp.fc1."});
      if (name == "register_tokens" && !config.vit.positions) name = "reg_token";
      if (name == "dist_token" && !config.vit.distilled) name = "reg_token";  // transformers_config.cc
    } else {
      for (const NameRule& rule : kReleaseParts) replace_part(name, rule);
    }
    if (ignored(name)) continue;
    if (swin && downsample_ends) move_downsample(name);
    if (swin && (name == "head.weight" || name == "head.bias")) name.insert(5, "fc.");
    const auto [known, fresh] = result.emplace(name, from);
    if (!fresh)
      fail("{}: '{}' and '{}' are both tensor '{}': remove one of them", stored.origin(), known->second, from, name);
  }
  return result;
}

/// DINOv2 with registers as released: the position embedding covers the class token. timm's covers patches only, and
/// the class token has its position added.
void move_class_position(RenamedTensors& out, const TensorSource& stored, TensorNames& names) {
  const auto registers = names.find("register_tokens"), token = names.find("cls_token"),
             positions = names.find("pos_embed");
  if (registers == names.end() || token == names.end() || positions == names.end()) return;
  const std::string cls = token->second, pos = positions->second;
  const Shape& cls_shape = stored.shapes().at(cls);
  const Shape& pos_shape = stored.shapes().at(pos);
  if (cls_shape.size() != 3 || pos_shape.size() != 3 || pos_shape[1] < 2 || cls_shape != Shape{1, 1, pos_shape[2]})
    return;
  out.add("cls_token", cls, cls_shape, [cls, pos](const TensorSource& source) {
    AlignedBuffer<float> sum = source.read(cls);
    const AlignedBuffer<float> all = source.read(pos);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += all[i];
    return sum;
  });
  out.add("pos_embed", pos, {1, pos_shape[1] - 1, pos_shape[2]}, [pos, dim = pos_shape[2]](const TensorSource& source) {
    const AlignedBuffer<float> all = source.read(pos);
    AlignedBuffer<float> rest(all.size() - static_cast<std::size_t>(dim));
    std::copy(all.begin() + dim, all.end(), rest.begin());
    return rest;
  });
  const std::string reg = registers->second;
  out.add("reg_token", reg, stored.shapes().at(reg), [reg](const TensorSource& source) { return source.read(reg); });
  for (const char* name : {"register_tokens", "cls_token", "pos_embed"}) names.erase(name);
}

/// Tables whose window is another than the network's are resized.
void resize_tables(RenamedTensors& out, const TensorSource& stored, const ModelConfig& config, TensorNames& names) {
  const auto windows = swin_windows(config);
  for (auto it = names.begin(); it != names.end();) {
    const auto& [name, from] = *it;
    const Shape& shape = stored.shapes().at(from);
    int stage = -1;
    if (name.starts_with("layers.") && name.ends_with(".relative_position_bias_table")) {
      std::from_chars(name.data() + 7, name.data() + name.size(), stage);
    }
    const bool known = stage >= 0 && static_cast<std::size_t>(stage) < windows.size() && shape.size() == 2;
    const auto side = known ? static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(shape[0])))) : 0;
    const bool square = known && shape[0] < (1 << 20) && side * side == shape[0] && side % 2 == 1;
    const std::array<int, 2> window = known ? windows[static_cast<std::size_t>(stage)] : std::array<int, 2>{};
    if (!square || shape[1] != config.swin.num_heads[static_cast<std::size_t>(stage)] ||
        (side == 2 * window[0] - 1 && side == 2 * window[1] - 1)) {
      ++it;
      continue;
    }
    const int heads = static_cast<int>(shape[1]), old_window = static_cast<int>(side + 1) / 2;
    const Shape resized = {static_cast<std::int64_t>(2 * window[0] - 1) * (2 * window[1] - 1), heads};
    out.add(name, from, resized, [from = from, heads, old_window, window](const TensorSource& source) {
      const AlignedBuffer<float> table = source.read(from);
      return resize_relative_bias({table.data(), table.size()}, heads, old_window, window);
    });
    it = names.erase(it);
  }
}

}  // namespace

void RenamedTensors::add(const std::string& name, std::string stored_name, Shape shape, Read read) {
  shapes_[name] = std::move(shape);
  entries_[name] = {std::move(stored_name), std::move(read)};
}

void RenamedTensors::change(const std::string& name, std::function<void(AlignedBuffer<float>&)> change) {
  Entry& entry = entries_.at(name);
  entry.read = [before = entry.read, change = std::move(change)](const TensorSource& source) {
    AlignedBuffer<float> values = before(source);
    change(values);
    return values;
  };
}

AlignedBuffer<float> RenamedTensors::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("{} has no tensor '{}'", origin(), name);
  AlignedBuffer<float> values = found->second.read(*stored_);
  if (!all_finite(values))
    fail("{}: tensor '{}' holds values that are not finite: training diverged or the file is damaged", origin(),
         found->second.stored_name);
  return values;
}

std::vector<std::string> RenamedTensors::unread() const {
  std::vector<std::string> names = stored_->unread();
  std::erase_if(names, [](const std::string& name) { return ignored(name); });
  return names;
}

std::shared_ptr<const RenamedTensors> rename_tensors(std::shared_ptr<const TensorSource> stored,
                                                     const ModelConfig& config) {
  auto out = std::make_shared<RenamedTensors>(stored);
  TensorNames names;
  if (is_clip(*stored))
    take_clip(*out, *stored, config, names);
  else
    names = timm_names(*stored, config);
  join_qkv(*out, *stored, names);
  join_gates(*out, *stored, names);
  move_class_position(*out, *stored, names);
  if (config.family == Family::kSwin) resize_tables(*out, *stored, config, names);
  for (const auto& [name, from] : names) {
    out->add(name, from, stored->shapes().at(from),
             [from = from](const TensorSource& source) { return source.read(from); });
  }
  if (config.family == Family::kVit && config.vit.rope == Rope::kEva) part_pairs(*out, config);
  return out;
}

}  // namespace igq
