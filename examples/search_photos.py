"""Embeds the photos of a folder and finds those that look most like a picture.

    python examples/search_photos.py MODEL FOLDER PICTURE [--top 5]

MODEL is an .igq file or a checkpoint, an encoder such as DINOv2 or CLIP at best. The vectors are kept in
FOLDER/.igq-vectors.npz; a second search embeds new and changed photos only.
"""

import argparse
import os
import pathlib
import sys

import numpy as np

import igq

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"}


def stamp(path: pathlib.Path) -> str:
    about = path.stat()
    return f"{path}|{about.st_size}|{about.st_mtime_ns}"


def stamp_of_model(path: str) -> str:
    files = sorted(pathlib.Path(path).iterdir()) if os.path.isdir(path) else [pathlib.Path(path)]
    return "\n".join(stamp(file) for file in files)


def read_index(file: pathlib.Path, model: str) -> dict:
    """{stamp of a photo: its vector} as far as they are of this model."""
    if not file.exists():
        return {}
    with np.load(file) as kept:
        if str(kept["model"]) != model:
            return {}
        return dict(zip(kept["photos"].tolist(), kept["vectors"]))


def write_index(file: pathlib.Path, model: str, known: dict) -> None:
    temporary = file.with_name(file.name + f".{os.getpid()}.tmp")
    with open(temporary, "wb") as out:
        np.savez(out, model=model, photos=np.array(list(known)), vectors=np.stack(list(known.values())))
    os.replace(temporary, file)


def embed_folder(model: igq.Model, source: str, folder: pathlib.Path):
    """Photos of the folder and their vectors [n, width], of length 1. Bad photos are left out and said."""
    index, name = folder / ".igq-vectors.npz", stamp_of_model(source)
    photos = {stamp(p): p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS}
    known = {key: vector for key, vector in read_index(index, name).items() if key in photos}
    new = [key for key in photos if key not in known]
    stream = model.stream((photos[key] for key in new), on_error="skip", output="embedding")
    for ids, vectors in stream:
        known.update((new[i], vector) for i, vector in zip(ids, vectors))
    for text in stream.errors.values():
        print(f"left out: {text}", file=sys.stderr)
    if not known:
        raise igq.Error(f"{folder} holds no photo that can be read")
    if new:
        write_index(index, name, known)
    print(f"{len(known)} photos, {len(new) - len(stream.errors)} of them embedded now")
    order = [key for key in photos if key in known]
    return [photos[key] for key in order], np.stack([known[key] for key in order])


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("picture", type=pathlib.Path)
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args(arguments)
    model = igq.Model(args.model)
    photos, vectors = embed_folder(model, args.model, args.folder)
    cosines = vectors @ model.embed(args.picture)[0]
    for at in np.argsort(-cosines, kind="stable")[: args.top]:
        print(f"{cosines[at]:.3f}  {photos[at].relative_to(args.folder)}")


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"search_photos: error: {fault}")
