"""Every script of examples/ runs as a user would run it, and its output is what it says."""

import csv
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import igq

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def example(root):
    def run(name, *arguments, fails=False, timeout=300):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, str(root / "examples" / name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def test_quantize(example, root, tmp_path):
    out = tmp_path / "model.igq"
    said = example("quantize_timm.py", "--bits", "w4a4", "-o", out)
    assert "MB, calibrated on 32 images" in said and "% " not in said.splitlines()[0]
    assert igq.Model(out).execution == "integer"
    said = example("quantize_timm.py", "--model", tmp_path / "nothing", "-o", out, fails=True)
    assert said.startswith("quantize_timm: error: ") and said.count("\n") == 1


def test_search(example, root, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(root / "assets/fashion_mnist/calibration", photos)
    (photos / "broken.png").write_bytes(b"no picture")
    query = sorted((photos / "sandal").iterdir())[0]
    said = example("search_photos.py", root / "assets/fashion_vit", photos, query, "--top", 3).splitlines()
    assert said[0] == "64 photos, 64 of them embedded now"
    assert said[1] == f"1.000  {query.relative_to(photos)}" and len(said) == 4
    shutil.copy(query, photos / "new.png")
    again = example("search_photos.py", root / "assets/fashion_vit", photos, query, "--top", 3).splitlines()
    assert again[0] == "65 photos, 1 of them embedded now"
    assert {line.split()[1] for line in again[1:3]} == {"new.png", str(query.relative_to(photos))}


def test_classify(example, root, tmp_path):
    folder = root / "assets/fashion_mnist/calibration"
    example("classify_folder.py", root / "assets/fashion_vit", folder, "-o", tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(pathlib.Path(row["file"]).parts[0] == row["label"] for row in rows)
    assert len(rows) == 64 and right >= 58
    assert all(row["error"] == "" for row in rows)
    expected = igq.Model(root / "assets/fashion_vit").predict(folder / rows[7]["file"], topk=1)[0]
    assert rows[7]["label"] == expected["label"] and rows[7]["score"] == f"{expected['score']:.4f}"


def test_detect(example, root, tmp_path, photo):
    from PIL import Image

    detector = root.parent / "shared/data/detection/mask_rcnn"
    if not detector.exists():
        pytest.skip("needs ../shared/data/detection")
    said = example("detect_draw.py", detector, photo, "-o", tmp_path / "found.png", "--threshold", 0.01)
    found = igq.Model(detector).detect(photo, 0.01)
    assert said.splitlines()[-1].endswith(f"found.png: {len(found)} objects") and found
    picture, drawn = (np.asarray(Image.open(p).convert("RGB")) for p in (photo, tmp_path / "found.png"))
    assert picture.shape == drawn.shape and not np.array_equal(picture, drawn)
    assert os.listdir(tmp_path) == ["found.png"]
