#!/usr/bin/env python3
"""Makes tests/fixtures/models: tiny random-weight models of every supported layout with the logits PyTorch gives.

    python tools/make_model_fixtures.py [--out tests/fixtures/models] [--only REGEX]

One directory per model: config.json and model.safetensors as timm or transformers lays them out (transformers: with
preprocessor_config.json), input.npy (float32 [2, 3, H, W], already normalised) and logits.npy (float32 [2, classes],
computed in fp32 from the stored weights). Every parameter is random and large enough to matter: a tensor that is
dropped, transposed or loaded in the wrong place changes the logits. The same seed gives the same files.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
TINY = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=5)
SWIN = dict(img_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_classes=5)

# name: (timm architecture, model_args, dtype, what it covers)
TIMM = {
    "vit_token": ("vit_tiny_patch16_224", TINY, "F32", "class token"),
    "vit_avg": ("vit_tiny_patch16_224", dict(TINY, global_pool="avg"), "F16", "average pooling, fc_norm, class token kept"),
    "vit_gap": ("vit_base_patch16_gap_224", dict(TINY), "BF16", "average pooling without class token, norm before pooling"),
    "vit_avg_notoken": ("vit_tiny_patch16_224", dict(TINY, global_pool="avg", class_token=False), "F32",
                        "average pooling, fc_norm, no class token"),
    "vit_nonsquare": ("vit_tiny_patch16_224", dict(TINY, img_size=[32, 48]), "F16", "image 32x48"),
    "vit_odd": ("vit_tiny_patch16_224", dict(TINY, img_size=28, patch_size=7, embed_dim=36, num_heads=3, num_classes=7),
                "BF16", "patch 7, width 36, three heads"),
    "vit_croppedpatch": ("vit_tiny_patch16_224", dict(TINY, img_size=36), "F32",
                         "image 36 with patch 8: the last 4 rows and columns are ignored"),
    "vit_mlpratio": ("vit_tiny_patch16_224", dict(TINY, mlp_ratio=2.5), "F16", "mlp_ratio 2.5"),
    "vit_qkv_nobias": ("vit_tiny_patch16_224", dict(TINY, qkv_bias=False), "F32", "no bias in qkv"),
    "vit_dinov2": ("vit_small_patch14_dinov2", dict(TINY, img_size=28, patch_size=14), "F16", "DINOv2: LayerScale"),
    "vit_dinov2_reg": ("vit_small_patch14_reg4_dinov2", dict(TINY, img_size=28, patch_size=14), "BF16",
                       "DINOv2 with four registers, position embedding of patches only"),
    "vit_swiglu": ("vit_giant_patch14_dinov2", dict(TINY, img_size=28, patch_size=14), "F16", "DINOv2 giant: SwiGLUPacked"),
    "vit_clip": ("vit_base_patch16_clip_224", TINY, "F32", "CLIP: norm before the blocks, eps 1e-5"),
    "vit_clip_quickgelu": ("vit_base_patch32_clip_quickgelu_224", TINY, "F16", "CLIP with quick GELU"),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", TINY, "F16", "two tokens, two heads averaged"),
    "deit3": ("deit3_small_patch16_224", TINY, "BF16", "DeiT-III: LayerScale, position embedding of patches only"),
    "vit_posresize": ("vit_tiny_patch16_224", dict(TINY, img_size=48), "F32",
                      "stored at 32x32, run at 48x48: position embedding resized as timm does"),
    "vit_posresize_down": ("vit_small_patch14_reg4_dinov2", dict(TINY, img_size=[28, 42], patch_size=7), "F16",
                           "stored at 49x49, run at 28x42, registers: position embedding resized down"),
    "swin_basic": ("swin_tiny_patch4_window7_224", SWIN, "F32", "shift in stage 0, one window in stage 1"),
    "swin_shift": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=56, window_size=7, num_heads=[1, 2]), "F16",
                   "window 7 on 14x14 and 7x7"),
    "swin_stages": ("swin_tiny_patch4_window7_224",
                    dict(SWIN, img_size=32, patch_size=2, window_size=4, depths=[2, 2, 2], num_heads=[1, 2, 4],
                         embed_dim=8, num_classes=7), "BF16", "three stages, two of them shifted"),
    "swin_pad": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=40), "F16", "10x10 padded to 12x12, then 5x5 to 8x8"),
    "swin_smallmap": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=24), "F32",
                      "6x6 padded, then 3x3 smaller than the window, which shrinks to 3"),
    "swin_oddmerge": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=44), "BF16", "11x11: patch merging pads to 12x12"),
    "swin_nonsquare": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=[32, 48]), "F32", "image 32x48"),
    "swin_biasdown": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=24), "F32",
                      "stored at 32x32, run at 24x24: the bias table of stage 1 resized from window 4 to 3 as timm does"),
    "swin_biasup": ("swin_tiny_patch4_window7_224", dict(SWIN, img_size=[32, 24], window_size=7), "F16",
                    "stored at 24x24, run at 32x24: bias tables resized to windows 7x6 and 4x3"),
    "swin_oldlayout": ("swin_tiny_patch4_window7_224", SWIN, "F32",
                       "swin_basic with the older key names: downsample at the end of a stage, `head.weight`"),
}
# Image size of the checkpoint where it is not that of the config.
STORED_SIZE = {"vit_posresize": 32, "vit_posresize_down": 49, "swin_biasdown": 32, "swin_biasup": 24}

HF = dict(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
          num_labels=5)
HF_SWIN = dict(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5)
HF_DINO = dict(image_size=28, patch_size=14, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_labels=5)

# name: (transformers model, its config, the network's input size, dtype, what it covers)
TRANSFORMERS = {
    "hf_vit": ("ViTForImageClassification", HF, 32, "F32", "eps 1e-12, id2label"),
    "hf_vit_nobias": ("ViTForImageClassification", dict(HF, qkv_bias=False), 32, "BF16", "no bias in query, key, value"),
    "hf_vit_sharded": ("ViTForImageClassification", HF, 32, "F32", "two shards and model.safetensors.index.json"),
    "hf_deit": ("DeiTForImageClassification", HF, 32, "F16", "distillation token, one head"),
    "hf_deit_teacher": ("DeiTForImageClassificationWithTeacher", HF, 32, "F32", "two heads averaged"),
    "hf_swin": ("SwinForImageClassification", HF_SWIN, 32, "F16", "shifted windows, patch merging"),
    "hf_swin_pad": ("SwinForImageClassification", dict(HF_SWIN, image_size=40), 40, "F32", "padded windows"),
    "hf_dinov2": ("Dinov2ForImageClassification", HF_DINO, 28, "F32", "head on class token and mean of patches"),
    "hf_dinov2_swiglu": ("Dinov2ForImageClassification", dict(HF_DINO, use_swiglu_ffn=True), 28, "F16", "SwiGLU"),
    "hf_dinov2_reg": ("Dinov2WithRegistersForImageClassification", HF_DINO, 28, "BF16", "four registers"),
    "hf_dinov2_posresize": ("Dinov2ForImageClassification", dict(HF_DINO, image_size=70), 28, "F32",
                            "stored at 70x70, the processor crops to 28x28: position embedding resized as transformers does"),
}


def randomize(model, generator):
    """Gives every parameter random values of a size at which it matters."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim == 1 and re.search(r"norm\w*\.weight$|norm\w*\.\d\.weight$|LayerNorm\.weight$|layernorm\w*\.weight$", name):
                p.copy_(1 + 0.2 * noise)
            elif re.search(r"gamma$|lambda1$", name):
                p.copy_(0.6 + 0.2 * noise)
            elif p.ndim == 1:
                p.copy_(0.2 * noise)
            elif re.search(r"token|pos_embed|position_embeddings|bias_table", name):
                p.copy_(0.5 * noise)
            else:
                gain = 1.5 if re.search(r"qkv|query|key", name) else 1.0
                p.copy_(gain * noise / p[0].numel() ** 0.5)
    return model


def round_to(model, dtype):
    """Rounds every parameter to what the file will hold."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())
    return model


@torch.no_grad()
def write_oracle(folder, model, height, width, generator, forward=lambda model, x: model(x)):
    """Writes input.npy and logits.npy."""
    x = torch.randn(2, 3, height, width, generator=generator)
    logits = forward(model.eval(), x)
    assert torch.isfinite(logits).all() and (logits[0] - logits[1]).abs().max() > 0.05
    np.save(folder / "input.npy", x.numpy())
    np.save(folder / "logits.npy", logits.numpy())


def pair(size):
    """int or [h, w] -> (h, w)."""
    return (size, size) if isinstance(size, int) else tuple(size)


def old_swin_names(tensors):
    """Key names of the original Swin checkpoints: stage i's downsample belongs to stage i - 1, the head has no `fc`."""
    def rename(name):
        name = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
        return name.replace("head.fc.", "head.")
    return {rename(name): value for name, value in tensors.items()}


def make_timm(name, folder):
    """One fixture in timm's layout."""
    architecture, args, dtype, _ = TIMM[name]
    seed = zlib.crc32(name.replace("swin_oldlayout", "swin_basic").encode())
    generator = torch.Generator().manual_seed(seed)
    stored_args = dict(args, img_size=STORED_SIZE.get(name, args["img_size"]))
    stored = round_to(randomize(timm.create_model(architecture, **stored_args), generator), DTYPES[dtype])
    parameters = dict(stored.named_parameters())
    tensors = {key: value.detach().to(DTYPES[dtype]).contiguous() for key, value in parameters.items()}
    if name == "swin_oldlayout":
        tensors = old_swin_names(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    model = timm.create_model(architecture, **args)
    if name.startswith("swin"):
        from timm.models.swin_transformer import checkpoint_filter_fn
    else:
        from timm.models.vision_transformer import checkpoint_filter_fn
    filtered = checkpoint_filter_fn({key: value.float() for key, value in tensors.items()}, model)
    missing, unexpected = model.load_state_dict(filtered, strict=False)
    assert not unexpected and all(key in dict(model.named_buffers()) for key in missing), (missing, unexpected)

    height, width = pair(args["img_size"])
    config = {
        "architecture": architecture, "num_classes": args["num_classes"], "num_features": model.num_features,
        "global_pool": model.global_pool if hasattr(model, "global_pool") else "avg", "model_args": args,
        "pretrained_cfg": {
            "num_classes": args["num_classes"], "input_size": [3, height, width], "fixed_input_size": True,
            "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center", "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5], "pool_size": None, "first_conv": "patch_embed.proj",
            "classifier": model.default_cfg["classifier"],
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_oracle(folder, model, height, width, generator)


def image_processor(model_name, size):
    """The image processor class that published checkpoints of the model use."""
    if model_name.startswith("ViT"):
        from transformers import ViTImageProcessor
        return ViTImageProcessor(size={"height": size, "width": size})
    if model_name.startswith("DeiT"):
        from transformers import DeiTImageProcessor
        return DeiTImageProcessor(size={"height": size + 8, "width": size + 8}, crop_size={"height": size, "width": size})
    if model_name.startswith("Swin"):  # published Swin checkpoints name ViT's processor
        from transformers import ViTImageProcessor
        return ViTImageProcessor(size={"height": size, "width": size}, resample=3, image_mean=[0.485, 0.456, 0.406],
                                 image_std=[0.229, 0.224, 0.225])
    from transformers import BitImageProcessor
    return BitImageProcessor(size={"shortest_edge": size + 4}, crop_size={"height": size, "width": size},
                             image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])


def make_transformers(name, folder):
    """One fixture as transformers' save_pretrained writes it."""
    import transformers.models as models
    model_name, args, size, dtype, _ = TRANSFORMERS[name]
    family = {"ViT": "vit", "DeiT": "deit", "Swin": "swin", "Dinov2": "dinov2", "Dinov2WithRegisters": "dinov2_with_registers"}[
        model_name.split("For")[0]]
    module = getattr(models, family)
    config = getattr(module, model_name.split("For")[0] + "Config")(**args)
    config.id2label = {i: f"class {chr(97 + i)}" for i in range(args["num_labels"])}
    config.label2id = {label: i for i, label in config.id2label.items()}
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    model = round_to(randomize(getattr(module, model_name)(config), generator), DTYPES[dtype])
    write_oracle(folder, model, size, size, generator, lambda network, x: network(x).logits)
    shard = {"max_shard_size": "60KB"} if "sharded" in name else {}
    model.to(DTYPES[dtype]).save_pretrained(folder, **shard)
    image_processor(model_name, size).save_pretrained(folder)


def make_all(out, only):
    """Every fixture whose name matches, and the list of all in README.md."""
    for name in [*TIMM, *TRANSFORMERS]:
        if re.search(only, name):
            folder = out / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (make_timm if name in TIMM else make_transformers)(name, folder)
            size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
            print(f"{name}: {size:,} bytes, logits {np.load(folder / 'logits.npy')[0]}")
    write_readme(out)


def transformers_version():
    """The installed version of transformers."""
    import transformers
    return transformers.__version__


def write_readme(out):
    """README.md: one line per fixture."""
    lines = ["# Models with oracle outputs", "",
             f"Made by `tools/make_model_fixtures.py` with timm {timm.__version__}, transformers {transformers_version()} and",
             f"PyTorch {torch.__version__.split('+')[0]}: random weights, `input.npy` already normalised, `logits.npy` computed in fp32 from",
             "the stored weights.", "",
             "| directory | architecture | weights | what it covers |", "|---|---|---|---|"]
    lines += [f"| `{name}` | `{architecture}` | {dtype} | {what} |" for name, (architecture, _, dtype, what) in TIMM.items()]
    lines += [f"| `{name}` | `{architecture}` (transformers) | {dtype} | {what} |"
              for name, (architecture, _, _, dtype, what) in TRANSFORMERS.items()]
    (out / "README.md").write_text("\n".join(lines) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/models"))
    parser.add_argument("--only", default="", help="regular expression of the names to make")
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_all(args.out, args.only)


if __name__ == "__main__":
    main()
