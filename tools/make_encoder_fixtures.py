#!/usr/bin/env python3
"""Adds to tests/fixtures/models what the models give without their heads: embedding.npy and tokens.npy.

    python tools/make_encoder_fixtures.py [--models tests/fixtures/models]

For some of the models that make_model_fixtures.py made, whose weights are read back: embedding.npy (float32 [2, dim]) is the
pooled vector of timm's num_classes=0 or of transformers' bare model for input.npy, tokens.npy (float32 [2, tokens, dim]) all
tokens after the last norm that stands before pooling. Where transformers has no pooled vector but a trained dense layer with
tanh (ViTModel, DeiTModel), the embedding is the class token after the norm.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file

TIMM = ["vit_token", "vit_avg", "vit_dinov2_reg", "deit_distilled", "swin_basic"]
TRANSFORMERS = ["hf_vit", "hf_deit", "hf_dinov2", "hf_dinov2_reg", "hf_swin"]


def timm_outputs(folder, images):
    config = json.loads((folder / "config.json").read_text())
    args = {k: v for k, v in config.get("model_args", {}).items() if k != "num_classes"}
    model = timm.create_model(config["architecture"], num_classes=0, **args).eval()
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("head")}
    model.load_state_dict(weights)
    tokens = model.forward_features(images)
    return model.forward_head(tokens, pre_logits=True), tokens.flatten(1, -2)


def transformers_outputs(folder, images):
    whole = transformers.AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    out = whole.base_model(images)
    pooled = getattr(out, "pooler_output", None)
    return out.last_hidden_state[:, 0] if pooled is None else pooled, out.last_hidden_state


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("tests/fixtures/models"))
    models = parser.parse_args().models
    for name in TIMM + TRANSFORMERS:
        folder = models / name
        images = torch.from_numpy(np.load(folder / "input.npy"))
        with torch.no_grad():
            if name in TRANSFORMERS:
                embedding, tokens = transformers_outputs(folder, images)
            else:
                embedding, tokens = timm_outputs(folder, images)
        np.save(folder / "embedding.npy", embedding.numpy())
        np.save(folder / "tokens.npy", tokens.contiguous().numpy())
        print(name, tuple(embedding.shape), tuple(tokens.shape))


if __name__ == "__main__":
    main()
