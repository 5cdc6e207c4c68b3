#!/usr/bin/env python3
"""Adds to tests/fixtures/models what the models give without their heads: embedding.npy and tokens.npy.

    python tools/make_encoder_fixtures.py [--models tests/fixtures/models]

For some of the models that make_model_fixtures.py made, whose weights are read back: embedding.npy (float32 [2, dim]) is the
pooled vector of timm's num_classes=0 or of transformers' bare model for input.npy, tokens.npy (float32 [2, tokens, dim]) all
tokens after the last norm that stands before pooling. Where transformers has no pooled vector but a trained dense layer with
tanh (ViTModel, DeiTModel), the embedding is the class token after the norm.

Makes tests/fixtures/towers too: tiny random CLIP and SigLIP models as transformers saves them, and one with open_clip's names
below a timm configuration; output.npy is the projected vector (image_embeds), the pooled one, or logits.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

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


TOWER = dict(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
TEXT = dict(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=8)


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        spread = 0.3 if parameter.ndim > 1 else 0.2
        centre = 1.0 if parameter.ndim == 1 and parameter.mean() > 0.5 else 0.0
        parameter.data = (centre + spread * torch.randn(parameter.shape, generator=generator)).half().float()
    return model.eval()


def open_clip_names(weights):
    """transformers' vision tower under the names of open_clip: q, k and v in one matrix, the projection transposed."""
    weights = {k.removeprefix("vision_model."): v for k, v in weights.items()}
    out = {"visual.class_embedding": weights["embeddings.class_embedding"],
           "visual.conv1.weight": weights["embeddings.patch_embedding.weight"],
           "visual.positional_embedding": weights["embeddings.position_embedding.weight"],
           "visual.proj": weights["visual_projection.weight"].T, "logit_scale": torch.tensor(1.0),
           "positional_embedding": torch.zeros(8, 8), "transformer.resblocks.0.ln_1.weight": torch.zeros(8)}
    for end in ("weight", "bias"):
        out["visual.ln_pre." + end] = weights["pre_layrnorm." + end]
        out["visual.ln_post." + end] = weights["post_layernorm." + end]
        for i in range(TOWER["num_hidden_layers"]):
            old, new = f"encoder.layers.{i}.", f"visual.transformer.resblocks.{i}."
            out[new + "attn.in_proj_" + end] = torch.cat([weights[f"{old}self_attn.{q}_proj.{end}"] for q in "qkv"])
            for a, b in (("attn.out_proj.", "self_attn.out_proj."), ("ln_1.", "layer_norm1."), ("ln_2.", "layer_norm2."),
                         ("mlp.c_fc.", "mlp.fc1."), ("mlp.c_proj.", "mlp.fc2.")):
                out[new + a + end] = weights[old + b + end]
    return out


def make_towers(folder):
    t = transformers
    vision, text = dict(TOWER), dict(TEXT)
    both = t.CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)
    labels = dict(num_labels=5)
    siglip = t.SiglipConfig(vision_config=vision, text_config=text, **labels)
    clip_processor = dict(image_processor_type="CLIPImageProcessor", size={"shortest_edge": 32},
                          crop_size={"height": 32, "width": 32})
    siglip_processor = dict(image_processor_type="SiglipImageProcessor", size={"height": 32, "width": 32})
    images = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(3))
    towers = {
        "clip": (t.CLIPModel(both), clip_processor, lambda m: m.get_image_features(images)),
        "clip_vision": (t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**vision, projection_dim=12)), clip_processor,
                        lambda m: m(images).image_embeds),
        "clip_classifier": (t.CLIPForImageClassification(t.CLIPConfig(vision_config=vision, text_config=text, **labels)),
                            clip_processor, lambda m: m(images).logits),
        "siglip_classifier": (t.SiglipForImageClassification(siglip), siglip_processor, lambda m: m(images).logits),
        "siglip": (t.SiglipModel(siglip), siglip_processor, lambda m: m.get_image_features(images)),
        "siglip_vision": (t.SiglipVisionModel(t.SiglipVisionConfig(**vision)), siglip_processor,
                          lambda m: m(images).pooler_output),
    }
    for name, (model, processor, run) in towers.items():
        at = folder / name
        at.mkdir(parents=True, exist_ok=True)
        randomize(model)
        with torch.no_grad():
            out = run(model)
        out = getattr(out, "pooler_output", out)
        model.half().save_pretrained(at)
        (at / "preprocessor_config.json").write_text(json.dumps(processor))
        np.save(at / "input.npy", images.numpy())
        np.save(at / "output.npy", out.numpy())
        print(name, tuple(out.shape))
    at = folder / "open_clip"
    at.mkdir(exist_ok=True)
    weights = open_clip_names(load_file(folder / "clip_vision" / "model.safetensors"))
    save_file({k: v.half().contiguous() for k, v in weights.items()}, at / "model.safetensors")
    args = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2)
    (at / "config.json").write_text(json.dumps(dict(
        architecture="vit_base_patch32_clip_quickgelu_224", num_classes=0, model_args=args,
        pretrained_cfg=dict(input_size=[3, 32, 32]))))
    for file in ("input.npy", "output.npy"):
        (at / file).write_bytes((folder / "clip_vision" / file).read_bytes())
    make_timm_pool(folder / "timm_siglip", images)


def make_timm_pool(at, images):
    """timm's ViT with attention pooling, which leaves registers out, and a classifier behind it."""
    args = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.5, reg_tokens=2)
    model = timm.create_model("vit_base_patch16_siglip_224", num_classes=5, **args).eval()
    randomize(model)
    at.mkdir(exist_ok=True)
    with torch.no_grad():
        np.save(at / "output.npy", model(images).numpy())
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, at / "model.safetensors")
    (at / "config.json").write_text(json.dumps(dict(
        architecture="vit_base_patch16_siglip_224", num_classes=5, model_args=args,
        pretrained_cfg=dict(input_size=[3, 32, 32]))))
    np.save(at / "input.npy", images.numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("tests/fixtures/models"))
    models = parser.parse_args().models
    make_towers(models.parent / "towers")
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
