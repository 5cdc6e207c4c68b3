"""igq.ray and examples/ray_embed.py on a real local cluster of two processors: a run that is killed at half and resumed
writes the same rows with the same bits as one that was left alone."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import igq

pa = pytest.importorskip("pyarrow")
import pyarrow.compute  # noqa: E402
import pyarrow.parquet  # noqa: E402


@pytest.fixture(scope="module")
def images(root, tmp_path_factory):
    """A list of 900 images, two of them bad."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "broken.png").write_bytes(b"no picture")
    files = sorted((root / "assets/fashion_mnist/test").rglob("*.png"))[::10][:90]
    copies = folder / "copies"
    copies.mkdir()
    for i in range(10):
        for j, file in enumerate(files):
            shutil.copy(file, copies / f"{i:02}_{j:03}.png")
    names = sorted(map(str, copies.iterdir()))[:898] + [str(folder / "broken.png"), str(folder / "nothing.png")]
    (folder / "list.txt").write_text("\n".join(names))
    return folder / "list.txt"


def test_a_worker_without_ray(igq_file, photo):
    """The classes of igq.ray are plain Python: batches in, batches out."""
    import igq.ray

    model = igq.Model(igq_file)
    paths = pa.table({"path": [str(photo), "nothing.png", None, str(photo)], "id": [1, 2, 3, 4]})
    out = igq.ray.Embedder(igq_file)(paths)
    assert out.column_names == ["path", "id", "embedding", "error"]
    rows = out.column("embedding").to_pylist()
    assert rows[1] is None and rows[2] is None and "nothing.png" in out.column("error")[1].as_py()
    assert np.float32([rows[0], rows[3]]).tobytes() == model.embed(photo).tobytes() * 2
    raw = pa.table({"bytes": [photo.read_bytes(), b"broken"], "path": ["a", "b"]})
    out = igq.ray.Predictor(igq_file, column="bytes", topk=2)(raw)
    assert out.column_names == ["path", "labels", "scores", "indices", "error"]
    best = model.predict(photo, topk=2)
    assert out.column("scores")[0].as_py() == [p["score"] for p in best]
    assert out.column("labels").to_pylist() == [[p["label"] for p in best], None]
    only_bad = igq.ray.Embedder(igq_file)(pa.table({"path": pa.array([None, None], pa.string())}))
    assert only_bad.column("embedding").null_count == 2


def test_faults_before_anything_runs(root, tmp_path, igq_file):
    import igq.ray

    with pytest.raises(ValueError, match="Embedder"):
        igq.ray.Predictor(root / "tests/fixtures/towers/clip")
    with pytest.raises(igq.Error):
        igq.ray.Embedder(tmp_path / "nothing.igq")


def start_script(root, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")  # 15 starves on busy machines
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, str(root / "examples/ray_embed.py"), *map(str, arguments), "--local-cpus", "2"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out[out.index("{") :])


def rows_of(folder):
    """Rows of all complete files, by path."""
    table = pa.concat_tables(pyarrow.parquet.read_table(f) for f in sorted(pathlib.Path(folder).glob("*.parquet")))
    return table.sort_by("path")


def rows_done(parts):
    """Rows in complete files."""
    done = 0
    for file in pathlib.Path(parts).glob("*.parquet"):
        try:
            done += pyarrow.parquet.read_metadata(file).num_rows
        except (OSError, pa.ArrowInvalid):  # being written
            pass
    return done


OPTIONS = ["--rows-per-file", 60, "--batch-size", 32]


@pytest.fixture(scope="module")
def whole(root, images, tmp_path_factory):
    """The rows of a run that nobody killed."""
    pytest.importorskip("ray")
    out = tmp_path_factory.mktemp("whole") / "out"
    said = finish(start_script(root, root / "assets/fashion_vit", images, out, *OPTIONS))
    assert said["images"] == 900 and said["bad_images"] == 2 and 1 <= said["workers"] <= 2
    assert said["spilled_bytes"] == 0 and said["images_per_s_per_core"] > 0 and said["peak_mb_per_worker"] > 10
    assert 0 < said["decoding_percent"] < 100
    assert os.listdir(out.parent) == ["out"]
    rows = rows_of(out)
    assert rows.column("path").to_pylist() == sorted(images.read_text().splitlines())  # every row once
    assert rows.column("error").null_count == 898
    good = rows.filter(pa.compute.is_valid(rows.column("embedding")))
    expected = igq.Model(root / "assets/fashion_vit").embed(good.column("path").to_pylist())
    assert np.float32(good.column("embedding").to_pylist()).tobytes() == expected.tobytes()
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("read", [[], ["--bytes"]], ids=["paths", "bytes"])
def test_killed_at_half_and_resumed(root, images, whole, tmp_path, read):
    names = images.read_text().splitlines()
    if read:  # Ray itself must find every file that it is to read
        names = [n for n in names if not n.endswith("nothing.png")]
        images = tmp_path / "list.txt"
        images.write_text("\n".join(names))
        whole = whole.filter(pa.compute.invert(pa.compute.ends_with(whole.column("path"), "nothing.png")))
    arguments = [root / "assets/fashion_vit", images, tmp_path / "half", *OPTIONS, *read]
    process = start_script(root, *arguments)
    deadline = time.monotonic() + 300
    while rows_done(tmp_path / "half.parts") < len(names) // 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "half").exists()
    refused = start_script(root, *arguments)
    _, says = refused.communicate(timeout=100)
    assert refused.returncode == 1 and "--resume" in says and says.count("\n") == 1
    other = start_script(root, root / "assets/fashion_swin", *arguments[1:], "--resume")
    assert "another model" in other.communicate(timeout=100)[1] and other.returncode == 1
    (tmp_path / "half.parts/cut.parquet").write_bytes(b"PAR1 what a kill may leave")
    rest = finish(start_script(root, *arguments, "--resume"))
    assert 0 < rest["images"] < len(names)
    rows = rows_of(tmp_path / "half")
    if read:  # bytes have no name that a fault could tell
        assert rows.column("error").is_null().equals(whole.column("error").is_null())
        rows, whole = rows.drop_columns("error"), whole.drop_columns("error")
    assert rows.equals(whole)  # the same rows, the same bits
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "list.txt") == ["half"]
