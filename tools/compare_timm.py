#!/usr/bin/env python3
"""Compares igq's float engine with timm on full-size models with random weights; prints the largest difference per model.

    python tools/compare_timm.py [--igq build/igq] [--models deit_small_patch16_224 ...] [--dtype F16]

Each model is written to a temporary directory as timm's hub does it; the images are PNG files made here, and the whole
path from file to logits is compared: timm's evaluation transform and PyTorch in fp32 against `igq predict --json`.
Fails (exit code 1) when a logit differs by more than --tolerance times the largest logit.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform

from make_model_fixtures import DTYPES, randomize, round_to

MODELS = ["deit_small_patch16_224", "deit_base_patch16_224", "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224",
          "vit_large_patch16_224"]


def write_images(folder, count):
    """Smooth random RGB pictures of different sizes with some noise, as PNG files."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        width, height = 260 + 90 * i, 300 + 40 * (i % 3)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
        pixels = np.asarray(coarse, dtype=np.int64) + rng.integers(-20, 21, (height, width, 3))
        paths.append(folder / f"{i}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def write_model(name, folder, dtype):
    """Writes a random-weight model in the hub layout and returns it."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    model = round_to(randomize(timm.create_model(name), generator), DTYPES[dtype]).eval()
    save_file({key: value.detach().to(DTYPES[dtype]).contiguous() for key, value in model.named_parameters()},
              folder / "model.safetensors", metadata={"format": "pt"})
    cfg = {key: list(value) if isinstance(value, tuple) else value for key, value in model.pretrained_cfg.items()
           if key in ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes", "first_conv", "classifier")}
    (folder / "config.json").write_text(json.dumps({"architecture": name, "num_classes": model.num_classes, "pretrained_cfg": cfg}))
    return model


@torch.no_grad()
def timm_logits(model, paths):
    """[images, classes] through timm's evaluation transform."""
    cfg = model.pretrained_cfg
    transform = create_transform(input_size=cfg["input_size"], is_training=False, interpolation=cfg["interpolation"],
                                 mean=cfg["mean"], std=cfg["std"], crop_pct=cfg["crop_pct"], crop_mode=cfg.get("crop_mode", "center"))
    return np.stack([model(transform(Image.open(path).convert("RGB"))[None])[0].numpy() for path in paths])


def igq_logits(program, folder, paths, classes):
    """[images, classes] from the program under test."""
    command = [str(program), "predict", str(folder), *map(str, paths), "--topk", str(classes), "--json"]
    document = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    logits = np.zeros((len(paths), classes), dtype=np.float32)
    for row, image in zip(logits, document["images"]):
        for prediction in image["predictions"]:
            row[prediction["class"]] = prediction["logit"]
    return logits


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--igq", type=Path, default=Path("build/igq"))
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dtype", choices=DTYPES, default="F32", help="of the stored weights")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    failed = False
    for name in args.models:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            paths = write_images(folder, args.images)
            model = write_model(name, folder, args.dtype)
            expected = timm_logits(model, paths)
            actual = igq_logits(args.igq, folder, paths, model.num_classes)
        relative = float(np.abs(actual - expected).max() / np.abs(expected).max())
        failed |= not relative <= args.tolerance
        print(f"{name}: {args.images} images, largest difference {np.abs(actual - expected).max():.2e}, relative to the largest "
              f"logit {relative:.2e}, same top-1 on {(actual.argmax(1) == expected.argmax(1)).sum()}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
