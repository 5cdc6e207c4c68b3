#!/usr/bin/env python3
"""Makes src/models/registry_table.cc and tests/fixtures/registry/timm.json: the timm architectures that igq can run.

    python tools/make_registry.py [--table src/models/registry_table.cc] [--fixture tests/fixtures/registry/timm.json]

Every name of timm's vision_transformer, deit and swin_transformer modules is created on the meta device and its modules
are inspected, not its name: a model is listed when each part of it is one that src/models/config.h can describe. Prints
the names left out and why. The fixture holds what timm says about each listed model: parameters, multiply-adds (torch's
FLOP counter: convolutions, linear layers, both attention products) and the input size.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
from pathlib import Path

import timm
import torch
from timm.data import resolve_data_config
from timm.layers import AttentionPoolLatent, GluMlp, LayerNorm, Mlp, PatchEmbed, SwiGLU, set_fused_attn
from timm.layers.attention import Attention
from timm.layers.pos_embed_sincos import RotaryEmbeddingCat, RotaryEmbeddingDinoV3
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock, WindowAttention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

MODULES = ["vision_transformer", "deit", "swin_transformer", "eva"]
ACTIVATIONS = {"GELUTanh": "kGeluTanh", "QuickGELU": "kQuickGelu", "SiLU": "kSilu", "ReLU": "kRelu"}
COLOURS = {((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "kImagenet", ((0.5,) * 3, (0.5,) * 3): "kInception",
           ((0.0,) * 3, (1.0,) * 3): "kUnit", ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143)): "kSatellite",
           ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)): "kClip"}


class Unsupported(Exception):
    """The model has a part that igq's layers cannot run."""


def need(condition, reason):
    """Raises Unsupported with the reason unless the condition holds."""
    if not condition:
        raise Unsupported(reason)


def one(values, reason):
    """The value that all are; Unsupported when they differ."""
    values = list(values)
    need(all(v == values[0] for v in values), reason)
    return values[0]


def without_defaults(columns, defaults):
    """The columns up to the last one that is not what the struct has by default."""
    while columns[-1] == defaults[len(columns) - 1]:
        columns.pop()
    return columns


def is_identity(*modules):
    """Whether every module does nothing."""
    return all(m is None or isinstance(m, nn.Identity) for m in modules)


def norms_of(model):
    """The epsilon of all layer norms; nothing else normalises."""
    kinds = {type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__}
    need(kinds <= {"LayerNorm"}, f"normalises with {', '.join(sorted(kinds - {'LayerNorm'}))}")
    epsilons = (m.eps for m in model.modules() if isinstance(m, (nn.LayerNorm, LayerNorm)))
    return one(epsilons, "layer norms of different epsilon")


def activation_of(module):
    """The name in kernels::Activation."""
    if isinstance(module, nn.GELU):
        return "kGeluTanh" if module.approximate == "tanh" else "kGelu"
    name = type(module).__name__
    need(name in ACTIVATIONS or name == "GELU", f"activation {name}")
    return ACTIVATIONS.get(name, "kGelu")


def check_embedding(embed):
    """A plain patch embedding: a convolution whose stride is its kernel."""
    need(type(embed) is PatchEmbed, f"embedding {type(embed).__name__}")
    need(not embed.dynamic_img_pad and embed.proj.in_channels == 3, "padded embedding")


def vit_entry(model):
    """The columns of a VitEntry after the input."""
    need(type(model) in (VisionTransformer, VisionTransformerDistilled), type(model).__name__)
    check_embedding(model.patch_embed)
    need(is_identity(model.patch_embed.norm), "norm inside the patch embedding")
    need(model.pos_embed is not None, "no position embedding")
    need(model.global_pool in ("token", "avg", "map"), f"pooling '{model.global_pool}'")
    need((model.attn_pool is not None) == (model.global_pool == "map"), "attention pooling that is not used")
    need(not model.pool_include_prefix, "pooling over prefix tokens")
    pre_norm = not is_identity(model.norm_pre)
    need(pre_norm == (model.patch_embed.proj.bias is None), "pre-norm and the bias of the patch embedding disagree")
    shapes = []
    for block in model.blocks:
        need(type(block) is Block, type(block).__name__)
        a, mlp = block.attn, block.mlp
        need(type(a) is Attention, type(a).__name__)
        need(is_identity(a.q_norm, a.k_norm, a.norm), "norm inside the attention")
        need(a.gate is None, "gated attention")
        need(a.attn_dim == a.num_heads * a.head_dim == model.embed_dim, "head width is not width / heads")
        need(abs(a.scale * a.head_dim ** 0.5 - 1) < 1e-12, "attention scale")
        need(type(mlp) in (Mlp, GluMlp), type(mlp).__name__)
        need(is_identity(mlp.norm), "norm inside the MLP")
        swiglu = type(mlp) is GluMlp
        need(not swiglu or (not mlp.gate_last and isinstance(mlp.act, nn.SiLU)), "gated MLP other than SwiGLUPacked")
        need(all(m.bias is not None for m in (a.proj, mlp.fc1, mlp.fc2)), "no bias in proj or the MLP")
        shapes.append((a.num_heads, mlp.fc2.in_features, a.qkv.bias is not None, not is_identity(block.ls1), swiglu,
                       activation_of(mlp.act)))
        need(is_identity(block.ls1) == is_identity(block.ls2), "one LayerScale of two")
    heads, hidden, bias, scaled, swiglu, activation = one(shapes, "blocks that differ")
    if model.attn_pool is not None:
        pool = model.attn_pool
        need(type(pool) is AttentionPoolLatent and pool.latent_len == 1 and pool.pool == "token", "other pooling")
        need(pool.pos_embed is None and is_identity(pool.q_norm, pool.k_norm), "norms or positions in the pooling")
        need(pool.num_heads == heads and pool.mlp.fc1.out_features == hidden and not swiglu, "widths of the pooling")
        need(activation_of(pool.mlp.act) == activation and is_identity(pool.mlp.norm), "the pooling's MLP")
        need(pool.norm.eps == model.norm.eps and pool.q.bias is not None, "the pooling's norm")
        need(abs(pool.scale * pool.head_dim ** 0.5 - 1) < 1e-12 and pool.feat_size is None, "the pooling's scale")
    traits = [name for name, has in (
        ("kNoClassToken", not model.has_class_token), ("kDistilled", type(model) is VisionTransformerDistilled),
        ("kPatchPositions", model.no_embed_class), ("kNoQkvBias", not bias), ("kLayerScale", scaled),
        ("kPreNorm", pre_norm),
        ("kNoNorm", is_identity(model.norm)), ("kFcNorm", not is_identity(model.fc_norm)), ("kSwiglu", swiglu),
        ("kAveragePool", model.global_pool == "avg"), ("kAttentionPool", model.global_pool == "map")) if has]
    patch = model.patch_embed.patch_size
    need(patch[0] == patch[1], "patches that are not square")
    return without_defaults([patch[0], model.embed_dim, len(model.blocks), heads, hidden, " | ".join(traits) or 0,
                             model.num_reg_tokens, "kGelu" if swiglu else activation, f"{norms_of(model):g}f"],
                            [None] * 5 + [0, 0, "kGelu", "1e-06f"])


def rope_of(model):
    """The trait of the rotary embedding, empty without."""
    rope = model.rope
    if rope is None:
        return []
    if type(rope) is RotaryEmbeddingDinoV3:
        need(rope.temperature == 100.0 and rope.rotate_half and rope.grid_indexing == "ij", "angles unlike DINOv3's")
        need(rope.grid_offset == 0.0 and rope.normalize_coords == "separate", "coordinates unlike DINOv3's")
        return ["kRopeDinov3"]
    need(type(rope) is RotaryEmbeddingCat, type(rope).__name__)
    need(rope.temperature == 10000.0 and tuple(rope.ref_feat_shape or ()) == (16, 16), "angles unlike EVA-02's")
    need(not rope.in_pixels and rope.grid_offset == 0.0 and rope.grid_indexing == "ij", "coordinates unlike EVA-02's")
    return ["kRopeEva"]


def eva_entry(model):
    """The columns of a VitEntry after the input, of timm's Eva."""
    need(type(model) is Eva, type(model).__name__)
    check_embedding(model.patch_embed)
    need(is_identity(model.patch_embed.norm), "norm inside the patch embedding")
    need(model.global_pool in ("token", "avg") and model.attn_pool is None, f"pooling '{model.global_pool}'")
    need(is_identity(model.norm_pre) and model.patch_embed.proj.bias is not None, "norm before the blocks")
    need(model.patch_embed.patch_size[0] == model.patch_embed.patch_size[1], "patches that are not square")
    rope = rope_of(model)
    shapes = []
    for block in model.blocks:
        need(type(block) is EvaBlock and type(block.attn) is EvaAttention, f"{type(block).__name__}, {type(block.attn).__name__}")
        a, mlp = block.attn, block.mlp
        need(is_identity(a.q_norm, a.k_norm, a.norm) and a.gate is None, "norm or gate inside the attention")
        need(a.num_heads * a.head_dim == model.embed_dim, "head width is not width / heads")
        need(not rope or a.rotate_half == (rope == ["kRopeDinov3"]), "pairs of the rotation")
        need(type(mlp) in (Mlp, GluMlp, SwiGLU), type(mlp).__name__)
        gated = type(mlp) is not Mlp
        need(not gated or isinstance(mlp.act, nn.SiLU), "gate other than SiLU")
        need(type(mlp) is not GluMlp or not mlp.gate_last, "gate behind the values")
        need(gated or is_identity(mlp.norm), "norm inside a plain MLP")
        need(a.proj.bias is not None and mlp.fc2.bias is not None, "no bias in proj or the MLP")
        bias = a.q_bias is not None if a.qkv is not None else a.q_proj.bias is not None
        need((block.gamma_1 is None) == (block.gamma_2 is None), "one LayerScale of two")
        shapes.append((a.num_heads, mlp.fc2.in_features, bias, block.gamma_1 is not None, gated,
                       gated and not is_identity(mlp.norm), activation_of(mlp.act)))
    heads, hidden, bias, scaled, gated, mlp_norm, activation = one(shapes, "blocks that differ")
    traits = [name for name, has in (
        ("kNoClassToken", model.cls_token is None), ("kPatchPositions", model.no_embed_class), ("kNoQkvBias", not bias),
        ("kLayerScale", scaled), ("kNoNorm", is_identity(model.norm)), ("kFcNorm", not is_identity(model.fc_norm)),
        ("kSwiglu", gated), ("kAveragePool", model.global_pool == "avg"), ("kNoPositions", model.pos_embed is None),
        ("kMlpNorm", mlp_norm), ("kNoKeyBias", bias)) if has] + rope
    registers = 0 if model.reg_token is None else model.reg_token.shape[1]
    return without_defaults([model.patch_embed.patch_size[0], model.embed_dim, len(model.blocks), heads, hidden,
                             " | ".join(traits) or 0, registers, "kGelu" if gated else activation,
                             f"{norms_of(model):g}f"], [None] * 5 + [0, 0, "kGelu", "1e-06f"])


def swin_entry(model):
    """The columns of a SwinEntry after the input."""
    check_embedding(model.patch_embed)
    need(isinstance(model.patch_embed.norm, nn.LayerNorm), "no norm in the patch embedding")
    need(model.global_pool == "avg", f"pooling '{model.global_pool}'")
    windows, ratios, biases, depths, heads = [], [], [], [], []
    for i, stage in enumerate(model.layers):
        need(type(stage.downsample) is PatchMerging if i else is_identity(stage.downsample), "downsampling")
        depths.append(len(stage.blocks))
        heads.append(stage.blocks[0].attn.num_heads)
        for j, b in enumerate(stage.blocks):
            need(type(b) is SwinTransformerBlock and type(b.attn) is WindowAttention, type(b).__name__)
            need(not b.always_partition and b.attn.num_heads == heads[-1], "blocks that differ")
            need(b.attn.proj.in_features == b.dim, "attention width")
            need(activation_of(b.mlp.act) == "kGelu", "activation other than GELU")
            windows.append(tuple(model._ref_window_sizes[i]))
            need(b.target_shift_size == tuple((w // 2 if j % 2 else 0) for w in windows[-1]), "shift")
            ratios.append(b.mlp_ratio)
            biases.append(b.attn.qkv.bias is not None)
    need(len(depths) == 4, "not four stages")
    window = one(windows, "a window size per stage")
    need(window[0] == window[1], "window that is not square")
    need(all(r == 4 for r in ratios) and all(biases), "MLP ratio other than 4 or no bias in qkv")
    need(norms_of(model) == 1e-5, "norm epsilon")
    braces = lambda values: "{" + ", ".join(map(str, values)) + "}"
    return [model.patch_embed.patch_size[0], model.embed_dim, braces(depths), braces(heads), window[0]]


def create(name):
    """The model on the meta device: shapes without values."""
    with torch.device("meta"):
        return timm.create_model(name).eval()


def input_entry(model):
    """The columns of an InputEntry: image size, classes, preprocessing."""
    cfg = resolve_data_config({}, model=model)
    _, height, width = cfg["input_size"]
    need(height == width, "input that is not square")
    colours = (tuple(map(float, cfg["mean"])), tuple(map(float, cfg["std"])))
    need(colours in COLOURS, f"mean and std {colours}")
    enum = lambda text: "k" + text.capitalize()
    columns = [height, model.num_classes, COLOURS[colours], f"{cfg['crop_pct']:g}", enum(cfg["crop_mode"]),
               enum(cfg["interpolation"])]
    return without_defaults(columns, [None] * 4 + ["kCenter", "kBicubic"])


def inspect(name):
    """(family, input columns, architecture columns, model)."""
    model = create(name)
    swin = isinstance(model, SwinTransformer)
    entry = swin_entry if swin else eva_entry if isinstance(model, Eva) else vit_entry
    return "Swin" if swin else "Vit", input_entry(model), entry(model), model


def multiply_adds(model, size):
    """As torch counts them for one image."""
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


def table(rows):
    """Rows of columns as initializer lists; what does not fit into 120 columns goes on in the next line."""
    text = ""
    for row in rows:
        line = "    {" + ", ".join(map(str, row)) + "},"
        if len(line) > 120:
            cut = line.rindex(", ", 0, 118) + 1
            line = line[:cut] + "\n       " + line[cut:]
        text += line + "\n"
    return text


def collect():
    """Rows by table, and the fixture."""
    rows, fixture = {"Vit": [], "Swin": [], "Tag": []}, {}
    for name in sorted(name for module in MODULES for name in timm.list_models(module=module)):
        try:
            family, given, architecture, model = inspect(name)
        except Unsupported as reason:
            print(f"left out: {name}: {reason}")
            continue
        braced = lambda columns: "{" + ", ".join(map(str, columns)) + "}"
        rows[family].append([f'"{name}"', braced(given), *architecture])
        fixture[name] = {"parameters": sum(p.numel() for p in model.parameters()),
                         "macs": multiply_adds(model, given[0]), "size": given[0], "classes": given[1]}
        for tagged in sorted(timm.list_pretrained(name + ".*")):
            _, tag_given, tag_architecture, _ = inspect(tagged)
            assert tag_architecture == architecture, tagged
            rows["Tag"].append([f'"{tagged}"', braced(tag_given)])
    rows["Tag"].sort()
    return rows, fixture


HEADER = f"""// Made by tools/make_registry.py from timm {timm.__version__}; do not edit. The columns are the fields of
// the structs in registry_entry.h; an input is {{size, classes, colours, crop_pct, crop_mode, interpolation}}. What is
// left out at the end has its default. 0 classes: the published weights have no head.
#include "models/registry_entry.h"

namespace igq::registry {{
namespace {{

using enum Interpolation;
using enum CropMode;
using enum Colours;
using enum kernels::Activation;

// clang-format off
"""


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=Path("src/models/registry_table.cc"))
    parser.add_argument("--fixture", type=Path, default=Path("tests/fixtures/registry/timm.json"))
    options = parser.parse_args()
    set_fused_attn(False)
    rows, fixture = collect()
    text = HEADER
    titles = {"Vit": "name, input, patch, width, depth, heads, mlp_hidden, traits, registers, activation, norm_eps",
              "Swin": "name, input, patch, width, depths, heads, window", "Tag": "name.tag, input"}
    for kind, title in titles.items():
        text += f"// {title}\nconstexpr {kind}Entry k{kind}s[] = {{\n{table(rows[kind])}}};\n\n"
    text += "// clang-format on\n}  // namespace\n\n"
    text += "".join(f"std::span<const {kind}Entry> {kind.lower()}s() {{ return k{kind}s; }}\n" for kind in titles)
    options.table.write_text(text + "\n}  // namespace igq::registry\n")
    options.fixture.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f' "{name}": {json.dumps(entry)}' for name, entry in fixture.items())
    options.fixture.write_text("{\n" + lines + "\n}\n")
    print(f"{len(fixture)} architectures, {len(rows['Tag'])} pretrained tags")


if __name__ == "__main__":
    main()
