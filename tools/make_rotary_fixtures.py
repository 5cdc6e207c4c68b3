#!/usr/bin/env python3
"""Makes tests/fixtures/rotary: tiny random DINOv3 (transformers and timm) and EVA-02 (timm) models, as each saves them.

    python tools/make_rotary_fixtures.py [--out tests/fixtures/rotary]

Each folder holds config.json, model.safetensors (fp16), preprocessor_config.json for those of transformers, input.npy (float32
[2, 3, 32, 48]: not square, so that rows and columns cannot be confused), tokens.npy (all tokens after the last norm before pooling)
and output.npy (the pooled vector, or logits where the model has classes). dinov3 also holds photo.png and pixels.npy, what
transformers' processor makes of it.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

SIZE = (32, 48)
TINY = dict(img_size=list(SIZE), patch_size=8, embed_dim=32, depth=2, num_heads=2)
DINO = dict(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            num_register_tokens=3)


def randomize(model):
    """The model with weights that are large enough for every part to matter."""
    generator = torch.Generator().manual_seed(11)
    for parameter in model.parameters():
        spread = 0.3 if parameter.ndim > 1 else 0.2
        centre = 1.0 if parameter.ndim == 1 and parameter.mean() > 0.5 else 0.0
        parameter.data = (centre + spread * torch.randn(parameter.shape, generator=generator)).half().float()
    return model.eval()


def images():
    """[2, 3, height, width]"""
    return torch.randn((2, 3, *SIZE), generator=torch.Generator().manual_seed(3))


def save_arrays(at, tokens, output):
    """input.npy, tokens.npy, output.npy."""
    np.save(at / "input.npy", images().numpy())
    np.save(at / "tokens.npy", tokens.contiguous().numpy())
    np.save(at / "output.npy", output.numpy())
    print(at.name, tuple(tokens.shape), tuple(output.shape))


@torch.no_grad()
def make_transformers(at, **extra):
    """DINOv3ViTModel."""
    at.mkdir(parents=True, exist_ok=True)
    model = randomize(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**DINO, **extra)))
    out = model(images())
    model.half().save_pretrained(at)
    processor = dict(image_processor_type="DINOv3ViTImageProcessorFast", size=dict(height=SIZE[0], width=SIZE[1]))
    (at / "preprocessor_config.json").write_text(json.dumps(processor))
    save_arrays(at, out.last_hidden_state, out.pooler_output)


@torch.no_grad()
def make_timm(at, architecture, classes, **args):
    """One of timm's Eva."""
    at.mkdir(parents=True, exist_ok=True)
    model = randomize(timm.create_model(architecture, num_classes=classes, **{**TINY, **args}))
    tokens = model.forward_features(images())
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, at / "model.safetensors")
    (at / "config.json").write_text(json.dumps(dict(
        architecture=architecture, num_classes=classes, model_args={**TINY, **args},
        pretrained_cfg=dict(input_size=[3, *SIZE]))))
    save_arrays(at, tokens, model.forward_head(tokens))


def make_pixels(at):
    """What the processor makes of a photograph-like picture."""
    y, x = np.mgrid[0:97, 0:61]
    picture = np.stack([127 + 90 * np.sin(x / 7) + 30 * np.cos(y / 3), 2.5 * y, 255 - 4 * x], -1)
    picture = np.clip(picture + np.random.default_rng(0).normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    Image.fromarray(picture).save(at / "photo.png")
    processor = transformers.AutoImageProcessor.from_pretrained(at)
    np.save(at / "pixels.npy", processor(Image.open(at / "photo.png"), return_tensors="pt")["pixel_values"].numpy())


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/rotary"))
    out = parser.parse_args().out
    make_transformers(out / "dinov3")
    make_pixels(out / "dinov3")
    make_transformers(out / "dinov3_gated", use_gated_mlp=True, hidden_act="silu", key_bias=True)
    make_timm(out / "timm_dinov3", "vit_small_patch16_dinov3", 0, mlp_ratio=2)
    make_timm(out / "timm_dinov3_gated", "vit_small_plus_patch16_dinov3_qkvb", 0, mlp_ratio=2)
    make_timm(out / "eva02_base", "eva02_base_patch14_224", 5, mlp_ratio=2.5)
    make_timm(out / "eva02_small", "eva02_small_patch14_336", 5, mlp_ratio=2.5)
    make_timm(out / "rope_registers", "vit_medium_patch16_rope_reg1_gap_256", 5, mlp_ratio=2)


if __name__ == "__main__":
    main()
