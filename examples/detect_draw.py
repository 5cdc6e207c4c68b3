"""Finds objects in a picture and draws their boxes and masks.

    python examples/detect_draw.py DETECTOR photo.jpg -o found.png [--threshold 0.5]

DETECTOR is a folder or file of Mask R-CNN, Cascade, YOLOS or DETR (docs/detection.md). Needs `pip install '.[pillow]'`.
"""

import argparse
import os
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw

import igq

COLOURS = [(230, 80, 60), (60, 140, 220), (80, 170, 80), (200, 130, 30), (150, 90, 200)]


def draw(picture: Image.Image, objects: list) -> Image.Image:
    pixels = np.asarray(picture.convert("RGB")).astype(np.float32)
    for o in objects:
        if o["mask"] is not None:  # half the colour, half the picture
            pixels[o["mask"]] = 0.5 * pixels[o["mask"]] + 0.5 * np.float32(COLOURS[o["index"] % len(COLOURS)])
    answer = Image.fromarray(pixels.round().astype(np.uint8))
    pen = ImageDraw.Draw(answer)
    for o in objects:
        x, y, width, height = o["box"]
        colour = COLOURS[o["index"] % len(COLOURS)]
        pen.rectangle((x, y, x + width, y + height), outline=colour, width=2)
        pen.text((x + 3, y + 2), f"{o['label']} {o['score']:.2f}", fill=colour)
    return answer


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector")
    parser.add_argument("picture")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("found.png"))
    parser.add_argument("--threshold", type=float, help="least score (default: the detector's own)")
    args = parser.parse_args(arguments)
    model = igq.Model(args.detector)
    objects = model.detect(args.picture, score_threshold=args.threshold)
    for o in objects:
        print(f"{o['score']:.3f}  {o['label']}  at {', '.join(f'{v:.0f}' for v in o['box'])}")
    temporary = args.output.with_name(args.output.name + ".tmp")
    draw(Image.open(args.picture), objects).save(temporary, format="PNG")
    os.replace(temporary, args.output)
    print(f"{args.output}: {len(objects)} objects")


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"detect_draw: error: {fault}")
