"""igq.quantize, igq.compare, Detector: the program's bytes and answers, and work that stops when it is told to."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import igq


@pytest.fixture(scope="module")
def calibration(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calib")
    images = sorted((root / "assets/fashion_mnist/calibration").rglob("*.*"))
    for i, image in enumerate(p for p in images if p.is_file()):
        if i % 3 == 0:
            shutil.copy(image, folder / f"{i}{image.suffix}")
    assert len(list(folder.iterdir())) >= 16
    return folder


@pytest.fixture(scope="module")
def vit(root):
    return root / "assets/fashion_vit"


def test_the_programs_bytes(vit, calibration, tmp_path, program):
    heard = []
    report = igq.quantize(
        vit, calibration, tmp_path / "a.igq", bits="w4a6", samples=4, weights="gptq", keep="blocks.0.attn$", seed=3,
        site_bits=["mlp.fc1=w8a8"], progress=lambda *news: heard.append((*news, threading.current_thread())),
    )  # fmt: skip
    program(
        "quantize", vit, "--calib", calibration, "-o", tmp_path / "b.igq", "--bits", "w4a6", "--samples", 4, "--weights",
        "gptq", "--keep", "blocks.0.attn$", "--seed", 3, "--site-bits", "mlp.fc1=w8a8",
    )  # fmt: skip
    assert (tmp_path / "a.igq").read_bytes() == (tmp_path / "b.igq").read_bytes()
    assert report["calibration_images"] == 4 and report["verdict"]["images"] > 0
    assert heard and all(thread is threading.main_thread() for *_, thread in heard)
    assert all(0 <= done <= total for _, done, total, _ in heard)


def test_stopping_leaves_nothing(vit, calibration, tmp_path):
    with pytest.raises(igq.Cancelled):
        igq.quantize(vit, calibration, tmp_path / "a.igq", samples=4, progress=lambda stage, done, total: False)

    def fail(stage, done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        igq.quantize(vit, calibration, tmp_path / "a.igq", samples=4, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(vit, calibration, tmp_path):
    code = (
        "import igq, os, signal\n"
        f"igq.quantize({str(vit)!r}, {str(calibration)!r}, {str(tmp_path / 'a.igq')!r}, samples=16,\n"
        "    progress=lambda *news: os.kill(os.getpid(), signal.SIGINT))\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode in (1, 130, -signal.SIGINT) and "KeyboardInterrupt" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_faults_are_errors(vit, calibration, tmp_path):
    out = tmp_path / "a.igq"
    for flags, says in (
        ({"bits": "w9a9"}, "does not say bits"),
        ({"colour": "red"}, "colour"),
        ({"groups": 0}, "no number of groups"),
        ({"balance": "maybe"}, "not true or false"),
    ):
        with pytest.raises(igq.Error, match=says):
            igq.quantize(vit, calibration, out, **flags)
    with pytest.raises(igq.Error):
        igq.quantize(tmp_path / "nothing", calibration, out)
    out.write_bytes(b"precious")
    with pytest.raises(igq.Error, match="exists"):
        igq.quantize(vit, calibration, out)
    assert out.read_bytes() == b"precious"


def test_compare(vit, calibration, tmp_path, program):
    igq.quantize(vit, calibration, tmp_path / "q.igq", samples=4, weights="rtn")
    ours = igq.compare(vit, tmp_path / "q.igq", calibration, limit=12)
    theirs = program("compare", vit, tmp_path / "q.igq", "--data-dir", calibration, "--limit", 12, "--alone-images", 0)
    assert ours["images"] == 12
    assert ours["agreement"] == theirs["agreement"] and ours["logits_snr_db"] == theirs["logits_snr_db"]


@pytest.fixture(scope="module")
def shared_detection(root):
    folder = root.parent / "shared/data/detection"
    if not folder.exists():
        pytest.skip("needs ../shared/data/detection")
    return folder


@pytest.mark.parametrize("name", ["mask_rcnn", "yolos"])
def test_detector(shared_detection, name, root, photo, program):
    detector = igq.Detector(shared_detection / name)
    found = detector.detect(photo, score_threshold=0.01)
    theirs = program("predict", shared_detection / name, photo, "--score-threshold", 0.01)["images"][0]
    assert len(found) == len(theirs["detections"])
    for ours, their in zip(found, theirs["detections"]):
        assert ours["score"] == pytest.approx(their["score"], abs=1e-6)
        assert ours["box"] == pytest.approx(their["bbox"], abs=1e-4)
        assert ours["category_id"] == their["category_id"] and ours["label"] == their["label"]
        if "segmentation" in their:
            assert list(ours["mask"].shape) == their["segmentation"]["size"] and ours["mask"].dtype == np.bool_
    assert [d["score"] for d in detector.detect([photo, photo], 0.01)[1]] == [d["score"] for d in found]
    pipe = igq.pipeline(shared_detection / name)
    assert pipe.task == "object-detection"
    assert all(set(d) == {"score", "label", "box"} for d in pipe(photo, threshold=0.01))
    with pytest.raises(ValueError):
        igq.pipeline(detector, task="image-classification")
