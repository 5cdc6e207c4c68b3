#include "detectors/detector_tensors.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "models/weight_names.h"

namespace igq {
namespace {

/// The part of `text` between two others; empty when it does not have that form.
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (const auto at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

bool take_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

void add_once(RenamedTensors& out, const std::string& name, const std::string& from, Shape shape,
              RenamedTensors::Read read) {
  if (out.has(name))
    fail("{}: '{}' and '{}' are the same tensor, '{}'", out.origin(), out.stored_name(name), from, name);
  out.add(name, from, std::move(shape), std::move(read));
}

RenamedTensors::Read plain(const std::string& from) {
  return [from](const TensorSource& source) { return source.read(from); };
}

/// Rows of 4C values from nn.Unfold's order to the official one.
RenamedTensors::Read merged_in_order(const std::string& from) {
  return [from](const TensorSource& source) {
    constexpr std::array<std::size_t, 4> kPart = {0, 2, 1, 3};
    const AlignedBuffer<float> stored = source.read(from);
    const Shape& shape = source.shapes().at(from);
    const auto row = static_cast<std::size_t>(shape.back()), channels = row / 4;
    AlignedBuffer<float> result(stored.size());
    for (std::size_t begin = 0; begin < stored.size(); begin += row)
      for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t c = 0; c < channels; ++c) result[begin + k * channels + c] = stored[begin + c * 4 + kPart[k]];
    return result;
  };
}

/// A tensor whose first dimension is those of several, one after the other.
RenamedTensors::Read joined(std::vector<std::string> parts) {
  return [parts = std::move(parts)](const TensorSource& source) {
    std::size_t total = 0;
    std::vector<AlignedBuffer<float>> values;
    for (const std::string& part : parts) {
      values.push_back(source.read(part));
      total += values.back().size();
    }
    AlignedBuffer<float> result(total);
    float* to = result.data();
    for (const AlignedBuffer<float>& v : values) to = std::copy(v.begin(), v.end(), to);
    return result;
  };
}

/// The number right after `prefix`, and what follows; -1 when there is none.
int number_after(const std::string& name, std::string_view prefix, std::string& rest) {
  if (!name.starts_with(prefix)) return -1;
  std::size_t at = prefix.size(), digits = 0;
  int value = 0;
  while (at < name.size() && name[at] >= '0' && name[at] <= '9' && digits < 4) {
    value = value * 10 + (name[at++] - '0');
    ++digits;
  }
  if (digits == 0) return -1;
  rest = name.substr(at);
  return value;
}

}  // namespace

AlignedBuffer<float> WatchedTensors::read(const std::string& name) const {
  {
    const std::lock_guard lock(mutex_);
    read_.insert(name);
  }
  return tensors_->read(name);
}

std::set<std::string> WatchedTensors::names_read() const {
  const std::lock_guard lock(mutex_);
  return read_;
}

void WatchedTensors::check_all_read() const {
  std::vector<std::string> unread;
  for (const auto& [name, shape] : shapes())
    if (holds(name) && !read_.contains(name)) unread.push_back(name);
  if (unread.empty()) return;
  const std::size_t shown = std::min<std::size_t>(unread.size(), 4);
  fail("{}: {} tensors have no place in the network of this configuration: {}{}", origin(), unread.size(),
       fmt::join(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
       unread.size() > shown ? " ..." : "");
}

std::shared_ptr<const TensorSource> mmdet_tensors(std::shared_ptr<const TensorSource> stored) {
  auto out = std::make_shared<RenamedTensors>(stored);
  for (const auto& [from, shape] : stored->shapes()) {
    std::string name = from;
    while (take_prefix(name, "module.") || take_prefix(name, "state_dict.") || take_prefix(name, "model.")) {
    }
    if (name.starts_with("ema_") || name.ends_with(".num_batches_tracked") ||
        name.ends_with(".relative_position_index") || name.ends_with(".attn_mask"))
      continue;
    std::string rest;
    RenamedTensors::Read read = plain(from);
    if (name.starts_with("backbone.")) {
      name = replaced(name, ".patch_embed.projection.", ".patch_embed.proj.");
      if (const int stage = number_after(name, "backbone.stages.", rest); stage >= 0) {
        rest = replaced(rest, ".attn.w_msa.", ".attn.");
        rest = replaced(rest, ".ffn.layers.0.0.", ".mlp.fc1.");
        rest = replaced(rest, ".ffn.layers.1.", ".mlp.fc2.");
        const bool merge = rest.starts_with(".downsample.");
        if (merge && !shape.empty() && shape.back() % 4 == 0) read = merged_in_order(from);
        name = fmt::format("backbone.layers.{}{}", merge ? stage + 1 : stage, rest);
      } else if (const int layer = number_after(name, "backbone.layers.", rest);
                 layer >= 0 && rest.starts_with(".downsample.")) {
        name = fmt::format("backbone.layers.{}{}", layer + 1, rest);
      }
    }
    add_once(*out, name, from, shape, std::move(read));
  }
  return out;
}

std::shared_ptr<const TensorSource> yolos_tensors(std::shared_ptr<const TensorSource> stored) {
  auto out = std::make_shared<RenamedTensors>(stored);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kNames = {
      {{"vit.embeddings.cls_token", "vit.cls_token"},
       {"vit.embeddings.detection_tokens", "vit.det_tokens"},
       {"vit.embeddings.position_embeddings", "vit.pos_embed"},
       {"vit.embeddings.patch_embeddings.projection.", "vit.patch_embed.proj."},
       {"vit.encoder.mid_position_embeddings", "vit.mid_pos_embed"},
       {"vit.encoder.interpolation.mid_position_embeddings", "vit.mid_pos_embed"},  // transformers 5
       {"vit.encoder.layer.", "vit.blocks."},
       {"vit.layernorm.", "vit.norm."},
       {".attention.attention.", ".attn."},
       {".attention.output.dense.", ".attn.proj."},
       {".intermediate.dense.", ".mlp.fc1."},
       {".output.dense.", ".mlp.fc2."},
       {".layernorm_before.", ".norm1."},
       {".layernorm_after.", ".norm2."}}};
  for (const auto& [from, shape] : stored->shapes()) {
    std::string name = from;
    while (take_prefix(name, "module.") || take_prefix(name, "model.")) {
    }
    for (const auto& [old_part, new_part] : kNames) name = replaced(name, old_part, new_part);
    if (const auto query = name.find(".attn.query."); query != std::string::npos) {
      std::vector<std::string> parts = {from, replaced(from, ".query.", ".key."), replaced(from, ".query.", ".value.")};
      for (const std::string& part : parts) {
        const auto it = stored->shapes().find(part);
        if (it == stored->shapes().end()) fail("{}: tensor '{}' is missing", stored->origin(), part);
        if (it->second != shape) fail("{}: '{}' has another shape than '{}'", stored->origin(), part, from);
      }
      Shape whole = shape;
      if (!whole.empty()) whole[0] *= 3;
      add_once(*out, replaced(name, ".query.", ".qkv."), from, whole, joined(std::move(parts)));
    } else if (name.find(".attn.key.") == std::string::npos && name.find(".attn.value.") == std::string::npos) {
      add_once(*out, name, from, shape, plain(from));
    }
  }
  return out;
}

std::shared_ptr<const TensorSource> detr_tensors(std::shared_ptr<const TensorSource> stored) {
  auto out = std::make_shared<RenamedTensors>(stored);
  for (const auto& [from, shape] : stored->shapes()) {
    std::string name = from, rest, tail;
    take_prefix(name, "module.");
    if (name.ends_with(".num_batches_tracked")) continue;
    for (const char* prefix : {"model.backbone.conv_encoder.model.", "model.backbone.model.", "model.backbone."}) {
      if (!take_prefix(name, prefix)) continue;
      take_prefix(name, "_backbone.");
      name = replaced(name, "embedder.embedder.convolution.", "conv1.");
      name = replaced(name, "embedder.embedder.normalization.", "bn1.");
      if (const int stage = number_after(name, "encoder.stages.", rest); stage >= 0) {
        if (const int block = number_after(rest, ".layers.", tail); block >= 0) {
          for (int i = 0; i < 3; ++i) {
            tail = replaced(tail, fmt::format(".layer.{}.convolution.", i), fmt::format(".conv{}.", i + 1));
            tail = replaced(tail, fmt::format(".layer.{}.normalization.", i), fmt::format(".bn{}.", i + 1));
          }
          tail = replaced(tail, ".shortcut.convolution.", ".downsample.0.");
          tail = replaced(tail, ".shortcut.normalization.", ".downsample.1.");
          name = fmt::format("layer{}.{}{}", stage + 1, block, tail);
        }
      }
      if (name.starts_with("fc.") || name.starts_with("classifier.")) {
        name.clear();  // a classifier that came with the backbone
        break;
      }
      name = "backbone." + name;
      break;
    }
    if (name.starts_with("model.")) {  // transformers 5
      name = replaced(name, "_attn.o_proj.", "_attn.out_proj.");
      name = replaced(name, ".mlp.fc", ".fc");
    }
    if (!name.empty()) add_once(*out, name, from, shape, plain(from));
  }
  return out;
}

}  // namespace igq
