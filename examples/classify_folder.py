"""Classifies every image of a folder in batches and writes a table; an image that cannot be read has its fault there.

    python examples/classify_folder.py MODEL FOLDER -o table.csv
"""

import argparse
import collections
import csv
import os
import pathlib
import sys
import time

import igq

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"}


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("table.csv"))
    args = parser.parse_args(arguments)
    model = igq.Model(args.model)
    images = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not images:
        raise igq.Error(f"{args.folder} holds no images")
    rows = {}
    start = time.monotonic()
    stream = model.stream(images, batch_size=64, on_error="skip")
    for ids, logits in stream:
        for i, row in zip(ids, logits):
            best = model.rank(row, topk=1)[0]
            rows[i] = (best["label"], f"{best['score']:.4f}", "")
    seconds = time.monotonic() - start
    rows.update((i, ("", "", text)) for i, text in stream.errors.items())
    temporary = args.output.with_name(args.output.name + ".tmp")
    with open(temporary, "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["file", "label", "score", "error"])
        table.writerows([images[i].relative_to(args.folder), *rows[i]] for i in range(len(images)))
    os.replace(temporary, args.output)
    print(f"{args.output}: {len(images)} images, {len(stream.errors)} bad, {len(images) / seconds:.0f} images/s")
    for label, count in collections.Counter(row[0] for row in rows.values() if row[0]).most_common(3):
        print(f"{count:5}  {label}")


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"classify_folder: error: {fault}")
