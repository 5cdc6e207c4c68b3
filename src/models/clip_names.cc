// transformers.models.clip and .siglip (modeling_*.py), open_clip.transformer.VisionTransformer.
#include "models/clip_names.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "models/name_rules.h"

namespace igq {
namespace {

constexpr std::array<std::string_view, 2> kPatches = {"embeddings.patch_embedding.weight", "visual.conv1.weight"};
/// SigLIP's attention pooling; its in_proj is the query's, the keys' and the values' matrix in one.
constexpr std::array<NameRule, 4> kPooling{{{"head.probe", "attn_pool.latent"},
                                            {"head.attention.out_proj.", "attn_pool.proj."},
                                            {"head.layernorm.", "attn_pool.norm."},
                                            {"head.mlp.", "attn_pool.mlp."}}};
constexpr std::string_view kPoolingProjection = "head.attention.in_proj_";
/// At the beginning, once what stands before the tower is off.
constexpr std::array<NameRule, 15> kStarts{{{"embeddings.class_embedding", "cls_token"},
                                            {"embeddings.patch_embedding.", "patch_embed.proj."},
                                            {"embeddings.position_embedding.weight", "pos_embed"},
                                            {"pre_layrnorm.", "norm_pre."},
                                            {"post_layernorm.", "norm."},
                                            {"encoder.layers.", "blocks."},
                                            {"visual_projection.", "projection."},
                                            {"classifier.", "head."},
                                            {"visual.class_embedding", "cls_token"},
                                            {"visual.positional_embedding", "pos_embed"},
                                            {"visual.conv1.", "patch_embed.proj."},
                                            {"visual.ln_pre.", "norm_pre."},
                                            {"visual.ln_post.", "norm."},
                                            {"visual.transformer.resblocks.", "blocks."},
                                            {"visual.proj", "projection.weight"}}};
constexpr std::array<NameRule, 12> kParts{{{".self_attn.q_proj.", ".attn.q."},
                                           {".self_attn.k_proj.", ".attn.k."},
                                           {".self_attn.v_proj.", ".attn.v."},
                                           {".self_attn.out_proj.", ".attn.proj."},
                                           {".layer_norm1.", ".norm1."},
                                           {".layer_norm2.", ".norm2."},
                                           {".ln_1.", ".norm1."},
                                           {".ln_2.", ".norm2."},
                                           {".attn.in_proj_", ".attn.qkv."},
                                           {".attn.out_proj.", ".attn.proj."},
                                           {".mlp.c_fc.", ".mlp.fc1."},
                                           {".mlp.c_proj.", ".mlp.fc2."}}};
/// The text tower of transformers, of open_clip, and what joins the towers.
constexpr std::array<std::string_view, 10> kText = {
    "text_model.",          "text_projection",        "logit_scale", "logit_bias", "token_embedding.",
    "positional_embedding", "transformer.resblocks.", "ln_final.",   "attn_mask",  "text."};

/// Rows [begin, end) of `from`, a matrix or a bias, as tensor `name`.
void add_rows(RenamedTensors& out, const std::string& name, const std::string& from, Shape shape, std::int64_t begin,
              std::int64_t end) {
  const std::size_t row = shape.size() == 2 ? static_cast<std::size_t>(shape[1]) : 1;
  shape[0] = end - begin;
  out.add(name, from, shape,
          [from, first = static_cast<std::size_t>(begin) * row,
           count = static_cast<std::size_t>(end - begin) * row](const TensorSource& source) {
            const AlignedBuffer<float> all = source.read(from);
            AlignedBuffer<float> values(count);
            std::copy_n(all.data() + first, count, values.data());
            return values;
          });
}

}  // namespace

bool is_clip(const TensorSource& stored) {
  return std::any_of(stored.shapes().begin(), stored.shapes().end(), [](const auto& tensor) {
    return std::any_of(kPatches.begin(), kPatches.end(), [&](auto end) { return tensor.first.ends_with(end); });
  });
}

void take_clip(RenamedTensors& out, const TensorSource& stored, const ModelConfig& config, TensorNames& names) {
  for (const auto& [from, shape] : stored.shapes()) {
    std::string name = from;
    while (strip_start(name, "module.") || strip_start(name, "model.") || strip_start(name, "_orig_mod.")) continue;
    if (std::any_of(kText.begin(), kText.end(), [&](std::string_view text) { return name.starts_with(text); }) ||
        name.ends_with("position_ids"))
      continue;
    const bool in_tower = strip_start(name, "vision_model.");
    const bool attends = config.vit.pooling == Pooling::kAttention;  // transformers 5 saves a bare tower
    if ((in_tower || attends) && name.starts_with("head.")) {
      if (!attends) continue;  // SiglipForImageClassification does not use it
      const std::int64_t dim = config.vit.embed_dim;
      if (strip_start(name, kPoolingProjection) && !shape.empty() && shape[0] == 3 * dim) {
        add_rows(out, "attn_pool.q." + name, from, shape, 0, dim);
        add_rows(out, "attn_pool.kv." + name, from, shape, dim, 3 * dim);
        continue;
      }
      replace_start(name, kPooling);
    } else {
      replace_start(name, kStarts);
    }
    for (const NameRule& rule : kParts) replace_part(name, rule);
    // CLIPForImageClassification has the last norm and does not use it.
    if (!config.vit.final_norm && (name == "norm.weight" || name == "norm.bias")) continue;
    if (names.contains(name)) {
      fail("{}: '{}' and '{}' are both tensor '{}': remove one of them", stored.origin(), names.at(name), from, name);
    }
    const auto read = [from = from](const TensorSource& source) { return source.read(from); };
    if (name == "cls_token" && shape.size() == 1)
      out.add(name, from, {1, 1, shape[0]}, read);
    else if (name == "pos_embed" && shape.size() == 2)
      out.add(name, from, {1, shape[0], shape[1]}, read);
    else if (from.ends_with("visual.proj") && shape.size() == 2)  // [D, P]
      out.add(name, from, {shape[1], shape[0]}, [from = from, rows = shape[0], cols = shape[1]](const TensorSource& s) {
        const AlignedBuffer<float> stored_values = s.read(from);
        AlignedBuffer<float> values(stored_values.size());
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < cols; ++c)
            values[static_cast<std::size_t>(c * rows + r)] = stored_values[static_cast<std::size_t>(r * cols + c)];
        return values;
      });
    else
      names.emplace(name, from);
  }
}

}  // namespace igq
