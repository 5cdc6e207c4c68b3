#!/usr/bin/env python3
"""What training-free token merging would cost and gain on the two real models, in float PyTorch.

Token merging (ToMe: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, arXiv:2210.09461): in every block,
between attention and MLP, the tokens are dealt into two sets in turn; each token of the first set proposes the token of
the second whose key (mean over the heads) has the largest cosine with its own; the r best proposals are merged, a token
becoming the mean of all patches in it. From then on log(size) is added to the attention scores of a token's key, so
that a merged token counts as the patches that it stands for. The class token is never merged. Nothing is trained.

Compared, each with the float model as it is ("as float": the share of test images with the same predicted class):
  r=N      N tokens merged in every block
  down N   2N in the first block down to 0 in the last, N on average
  auto F   a number per block, chosen on 16 calibration images: each block alone is made to merge a few numbers of
           tokens, the divergence of the predictions is measured, and steps of least divergence per multiply-add saved
           are taken until F times the multiply-adds are left; "held back" is its agreement on calibration images that
           chose nothing, which is what a gate would see
  ... w8a8 the same with the linear layers of the blocks quantized and dequantized: weights to nearest per output
           channel, inputs per channel and image between their extremes (`best` of igq comes near it); the rest is float
  N px     no merging, but smaller images (what `igq --img-size N` does): the plain way to fewer tokens

Usage: token_merging.py [--data ../shared/data] [--models cifar textile] [--limit 1000] [--state state.json]
                        [--turns 21] [--settings REGEX]
Needs torch, timm, transformers 5, safetensors and Pillow. DATA has vit_small_patch14_cifar10, cifar10,
dinov2_s14_textile and textile. One thread. "ms" is processor time per image at batch 1: the median of turns in which
all settings are run one after the other. With --state results are kept in that file after every few images (in a fixed
random order), so that a run that was stopped goes on and settings of little interest can have fewer images; with
--limit 0 what is there is printed.
"""
import argparse
import json
import math
import random
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import torch
import torch.nn.functional as F
from PIL import Image

WIDTH, HEADS, DEPTH, PATCH = 384, 6, 12, 14  # of both models: ViT-S/14


@dataclass
class Block:
    norm1: Callable
    qkv: Callable  # tokens -> [batch, tokens, 3 * WIDTH]
    proj: Callable  # with layer scale
    norm2: Callable
    mlp: Callable  # with layer scale


@dataclass
class Model:
    name: str
    size: int
    embed: Callable  # images -> tokens, class token first
    blocks: list
    head: Callable  # tokens, patches per token -> logits
    reference: Callable  # images -> logits, as the library computes them
    folder: str
    crop_pct: float = 1.0
    classes: list = field(default_factory=list)


def load_cifar(data):
    import timm
    from safetensors.torch import load_file

    folder = data / "vit_small_patch14_cifar10"
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], dynamic_img_size=True, **config["model_args"])
    model.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    model.eval()
    quantizable(model.blocks)

    def embed(images):
        return model.norm_pre(model._pos_embed(model.patch_embed(images)))

    def head(x, size):  # of the class token alone
        return model.forward_head(model.norm(x))

    blocks = [Block(b.norm1, b.attn.qkv, lambda x, b=b: b.ls1(b.attn.proj(x)), b.norm2,
                    lambda x, b=b: b.ls2(b.mlp(x))) for b in model.blocks]
    cfg = config["pretrained_cfg"]
    return Model("ViT-S/14, CIFAR-10", cfg["input_size"][1], embed, blocks, head, model, "cifar10", cfg["crop_pct"],
                 config["label_names"])


def load_textile(data):
    from transformers import Dinov2ForImageClassification

    folder = data / "dinov2_s14_textile"
    model = Dinov2ForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    quantizable(model.dinov2.encoder.layer)
    blocks = []
    for layer in model.dinov2.encoder.layer:
        def qkv(x, a=layer.attention):
            return torch.cat([a.q_proj(x), a.k_proj(x), a.v_proj(x)], -1)

        def proj(x, layer=layer):
            return layer.layer_scale1(layer.attention.o_proj(x))

        def mlp(x, layer=layer):
            return layer.layer_scale2(layer.mlp(x))

        blocks.append(Block(layer.norm1, qkv, proj, layer.norm2, mlp))

    def head(x, size):
        x = model.dinov2.layernorm(x)
        mean = (x * size)[:, 1:].sum(1) / size[:, 1:].sum(1)  # of the patches, as without merging
        return model.classifier(torch.cat([x[:, 0], mean], 1))

    cfg = json.loads((folder / "preprocessor_config.json").read_text())
    size = cfg["crop_size"]["height"]
    return Model("DINOv2 ViT-S/14, textile", size, model.dinov2.embeddings, blocks, head, lambda x: model(x).logits,
                 "textile", size / cfg["size"]["shortest_edge"], [model.config.id2label[i] for i in range(3)])


class Quantizer:
    """Stands in a linear layer's place; quantizes when `bits` is not 0."""
    bits = 0

    def __init__(self, linear):
        self.linear = linear
        step = linear.weight.abs().amax(1, keepdim=True) / 127
        self.weight = (linear.weight / step).round() * step

    def __call__(self, x):
        if not Quantizer.bits:
            return F.linear(x, self.linear.weight, self.linear.bias)
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        step = ((high - low) / (2**Quantizer.bits - 1)).clamp_min(1e-12)
        return F.linear(((x - low) / step).round() * step + low, self.weight, self.linear.bias)


def quantizable(blocks):
    for module in [module for block in blocks for module in block.modules()]:
        if isinstance(module, torch.nn.Linear):
            module.forward = Quantizer(module)


def merge(x, size, keys, r):
    """Merges r tokens of x [batch, n, width]; keys [batch, n, key width], size [batch, n, 1]: patches in each token."""
    keys = F.normalize(keys, dim=-1)
    scores = keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)
    scores[:, 0] = -math.inf  # the class token stays
    best, partner = scores.max(-1)
    order = best.argsort(-1, descending=True)
    kept, gone = order[:, r:].sort(-1).values[..., None], order[:, :r, None]  # sorted: the class token is first again
    partner = partner[..., None].gather(1, gone)

    def sums(t):
        width = t.shape[-1]
        even, odd = t[:, ::2], t[:, 1::2]
        moved = even.gather(1, gone.expand(-1, -1, width))
        odd = odd.scatter_add(1, partner.expand(-1, -1, width), moved)
        return torch.cat([even.gather(1, kept.expand(-1, -1, width)), odd], 1)

    total = sums(size)
    return sums(x * size) / total, total


def run_blocks(model, x, schedule, start=0, keep=None):
    """Logits from tokens before block `start`; keep, if given, collects the tokens before each block."""
    size = torch.ones(x.shape[0], x.shape[1], 1)
    merged = False
    for block, r in list(zip(model.blocks, schedule))[start:]:
        if keep is not None:
            keep.append(x)
        batch, n, _ = x.shape
        q, k, v = block.qkv(block.norm1(x)).view(batch, n, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mask = size.log().view(batch, 1, 1, n).expand(-1, -1, n, -1) if merged else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + block.proj(y.transpose(1, 2).reshape(batch, n, -1))
        if r:
            x, size = merge(x, size, k.mean(1), r)
            merged = True
        x = x + block.mlp(block.norm2(x))
    return model.head(x, size)


def clip(schedule, tokens):
    """The schedule that is run: no block merges more than half of what it has, and the class token stays."""
    result = []
    for r in schedule:
        result.append(min(r, (tokens - 1) // 2))
        tokens -= result[-1]
    return result


def multiply_adds(tokens, schedule):
    total = (tokens - 1) * 3 * PATCH * PATCH * WIDTH
    for r in schedule:
        total += tokens * 4 * WIDTH * WIDTH + 2 * tokens * tokens * WIDTH  # qkv and proj; scores and values
        if r:
            total += (tokens - tokens // 2) * (tokens // 2) * WIDTH // HEADS  # cosines of the keys
        tokens -= r
        total += tokens * 8 * WIDTH * WIDTH  # MLP
    return total


def images_of(data, model, part):
    return [(path, model.classes.index(path.parent.name))
            for name in sorted(model.classes) for path in sorted((data / model.folder / part / name).iterdir())]


def load_images(model, size, files):
    from timm.data import create_transform

    convert = create_transform((3, size, size), is_training=False, interpolation="bicubic", crop_pct=model.crop_pct)
    return torch.stack([convert(Image.open(path).convert("RGB")) for path, _ in files])


def spread(items, count):
    """count of them, evenly over the list, which is sorted by class."""
    return items if count >= len(items) else [items[i * len(items) // count] for i in range(count)]


def run_settings(model, files, settings, batch=8):
    """{name: logits} of the settings, which share the blocks before the first merge."""
    result = {name: [] for name in settings}
    for i in range(0, len(files), batch):
        tokens = {}
        for name, (size, schedule, bits) in settings.items():
            first = next((b for b, r in enumerate(schedule) if r), None)
            Quantizer.bits = bits
            if first is not None and (size, bits) in tokens:
                logits = run_blocks(model, tokens[size, bits][first], schedule, start=first)
            else:
                keep = []
                x = model.embed(load_images(model, size, files[i:i + batch]))
                logits = run_blocks(model, x, schedule, keep=keep)
                if first is None:
                    tokens[size, bits] = keep
            result[name] += logits.tolist()
    Quantizer.bits = 0
    return result


def divergence(reference, logits):
    return F.kl_div(logits.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="batchmean").item()


def sensitivities(model, files, levels):
    """[block][level] -> divergence of the predictions when that block alone merges so many tokens; after more than 0.05
    larger levels are not run (infinite)."""
    keep = []
    x = model.embed(load_images(model, model.size, files))
    reference = run_blocks(model, x, [0] * DEPTH, keep=keep)
    table = []
    for b in range(DEPTH):
        table.append([0.0])
        for r in levels:
            schedule = [0] * b + [r] + [0] * (DEPTH - b - 1)
            table[b].append(divergence(reference, run_blocks(model, keep[b], schedule, start=b))
                            if table[b][-1] <= 0.05 else math.inf)
    return table


def allocate(table, levels, tokens, fraction):
    """Steps of least added divergence per multiply-add saved until `fraction` of the multiply-adds is left."""
    levels = [0] + levels
    chosen = [0] * DEPTH
    full = multiply_adds(tokens, [0] * DEPTH)
    while True:
        now = [levels[c] for c in chosen]
        cost = multiply_adds(tokens, clip(now, tokens))
        if cost <= fraction * full:
            return clip(now, tokens)
        best = None
        for b in range(DEPTH):
            for level in range(chosen[b] + 1, len(levels)):
                saved = cost - multiply_adds(tokens, clip(now[:b] + [levels[level]] + now[b + 1:], tokens))
                if saved > 0 and table[b][level] < math.inf:
                    added = table[b][level] - table[b][chosen[b]]
                    rate = max(0.0, added) / saved
                    if best is None or rate < best[0]:
                        best = (rate, b, level)
        if best is None:
            return clip(now, tokens)
        chosen[best[1]] = best[2]


def interval(share, count):
    """Half the width of the 95 % interval (Agresti-Coull, which is not zero where all agree)."""
    n = count + 3.84
    p = (share * count + 1.92) / n
    return 1.96 * math.sqrt(p * (1 - p) / n)


def settings_of(model, table, levels, tokens):
    """{name: (image size, schedule, bits or 0)}; the first is the model as it is."""
    small = tokens < 100
    result = {"r=0": (model.size, [0] * DEPTH, 0)}
    for r in [1, 2, 4, 6] if small else [2, 4, 8, 16]:
        result[f"r={r}"] = (model.size, clip([r] * DEPTH, tokens), 0)
    mean = 3 if small else 8
    result[f"down {mean}"] = (model.size, clip([round(2 * mean * (11 - b) / 11) for b in range(DEPTH)], tokens), 0)
    for fraction in [0.9, 0.8, 0.7, 0.6]:
        result[f"auto {fraction}"] = (model.size, allocate(table, levels, tokens, fraction), 0)
    for size in [98, 84] if small else [210, 196, 168]:
        result[f"{size} px"] = (size, [0] * DEPTH, 0)
    for name in ["r=0", "auto 0.9", "auto 0.8", "auto 0.7"]:
        result[f"{name} w8a8"] = (*result[name][:2], 8)
    return result


def measure(data, load, args, state):
    model = load(data)
    tokens = (model.size // PATCH) ** 2 + 1
    levels = [2, 4, 8, 16, 32] if tokens < 100 else [8, 16, 32, 64, 128]
    calibration = images_of(data, model, "calibration")
    chosen = spread(calibration, 16)
    held = spread([item for item in calibration if item not in chosen], 32)
    test = images_of(data, model, "test")
    random.Random(0).shuffle(test)
    mine = state.setdefault(model.name, {})

    if "sensitivities" not in mine:
        x = load_images(model, model.size, test[:2])
        error = (run_blocks(model, model.embed(x), [0] * DEPTH) - model.reference(x)).abs().max().item()
        assert error < 1e-3, f"not the library's model: {error}"
        mine["sensitivities"] = sensitivities(model, chosen, levels)
        args.save()
    settings = settings_of(model, mine["sensitivities"], levels, tokens)
    settings = {name: value for name, value in settings.items() if name == "r=0" or re.search(args.settings, name)}

    results = mine.setdefault("results", {})
    for part, files, pattern in [("held", held, "(r=0|auto [0-9.]+)$"), ("test", test[:args.limit], "")]:
        rows = {name: results.setdefault(name, {}).setdefault(part, []) for name in settings if re.match(pattern, name)}
        while rows and args.limit and (done := min(map(len, rows.values()))) < len(files):
            behind = {name: settings[name] for name, row in rows.items() if len(row) == done}
            end = min(done + 8, len(files), *(len(row) for row in rows.values() if len(row) > done))
            for name, logits in run_settings(model, files[done:end], behind).items():
                rows[name] += logits
            args.save()

    # Time: batch 1, all settings in each turn, processor time so that other jobs on the machine count little.
    pictures = {size: load_images(model, size, test[:1]) for size, _, _ in settings.values()}
    times = {name: [] for name in settings}
    for turn in range(args.turns + 1):
        for name, (size, schedule, bits) in settings.items():
            if bits:  # simulated: its time means nothing
                continue
            begin = time.thread_time()
            run_blocks(model, model.embed(pictures[size]), schedule)
            if turn:
                times[name].append(1000 * (time.thread_time() - begin))
    for name in settings:
        if times[name]:
            results[name]["ms"] = statistics.median(times[name])
    args.save()

    labels = torch.tensor([label for _, label in test])
    full = multiply_adds(tokens, [0] * DEPTH)
    print(f"\n{model.name}: {len(held)} calibration images held back, {full / 1e9:.3f} G multiply-adds\n")
    print("| setting | merged in blocks 1 to 12 | tokens left | multiply-adds | test images | as float, % | "
          "divergence | held back, % | top-1, % | float ms | of r=0 |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, (size, schedule, _) in settings.items():
        row = results[name]
        logits = torch.tensor(row["test"])
        count = len(logits)
        reference = torch.tensor(results["r=0"]["test"])[:count]
        start = (size // PATCH) ** 2 + 1
        share = (logits.argmax(1) == reference.argmax(1)).float().mean().item()
        kept = ""
        if row.get("held"):
            same = torch.tensor(row["held"]).argmax(1) == torch.tensor(results["r=0"]["held"]).argmax(1)
            kept = f"{100 * same.float().mean():.1f}"
        which = " ".join(map(str, schedule)) if any(schedule) and len(set(schedule)) > 1 else ""
        ms, ms0 = row.get("ms", math.nan), results["r=0"].get("ms", math.nan)
        print(f"| {name} | {which} | {start - sum(schedule)} | {multiply_adds(start, schedule) / full:.3f} | "
              f"{count} | {100 * share:.1f} +-{100 * interval(share, count):.1f} | "
              f"{divergence(reference, logits):.4f} | {kept} | "
              f"{100 * (logits.argmax(1) == labels[:count]).float().mean():.1f} | "
              f"{ms:.1f} | {ms / ms0:.2f} |", flush=True)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", nargs="+", choices=["cifar", "textile"], default=["textile", "cifar"])
    parser.add_argument("--limit", type=int, default=1000, help="test images")
    parser.add_argument("--turns", type=int, default=21, help="timed passes of each setting; 0: no times")
    parser.add_argument("--settings", default="", metavar="REGEX", help="only those that match (and r=0)")
    parser.add_argument("--state", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    state = json.loads(args.state.read_text()) if args.state and args.state.exists() else {}
    args.save = lambda: args.state and args.state.write_text(json.dumps(state))
    for name in args.models:
        measure(args.data, {"cifar": load_cifar, "textile": load_textile}[name], args, state)


if __name__ == "__main__":
    main()
