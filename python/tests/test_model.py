"""Model: every kind of image, batches, threads, pickling, forks; the same bits as the program."""

import concurrent.futures
import gc
import io
import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest

import igq

PIL = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module", params=["checkpoint", "igq_file"])
def model(request):
    return igq.Model(request.getfixturevalue(request.param))


def test_same_bits_as_the_program(model, request, photo, program):
    for name in ("checkpoint", "igq_file"):
        path = request.getfixturevalue(name)
        expected = program("predict", path, photo, "--topk", 3)["images"][0]["predictions"]
        got = igq.Model(path)
        logits = got.logits(photo)[0]
        for answer, wanted in zip(got.predict(photo, topk=3), expected):
            assert answer["index"] == wanted["class"]
            assert answer["score"] == wanted["score"]
            assert logits[answer["index"]] == np.float32(wanted["logit"])


def test_every_kind_of_image_gives_the_same_bits(model, photo):
    pixels = np.asarray(PIL.open(photo).convert("RGB"))
    read_only = pixels.copy()
    read_only.flags.writeable = False
    wide = np.zeros((pixels.shape[0], pixels.shape[1] * 2, 3), np.uint8)
    wide[:, ::2] = pixels
    kinds = {
        "str": str(photo),
        "path": photo,
        "bytes": photo.read_bytes(),
        "bytearray": bytearray(photo.read_bytes()),
        "memoryview": memoryview(photo.read_bytes()),
        "PIL": PIL.open(photo),
        "array": pixels,
        "read-only": read_only,
        "not contiguous": wide[:, ::2],
        "with alpha": np.dstack([pixels, np.full(pixels.shape[:2], 7, np.uint8)]),
        "normalised": model.preprocess(photo)[0],
    }
    expected = model.logits(photo)
    assert np.isfinite(expected).all()
    for name, image in kinds.items():
        assert model.logits(image).tobytes() == expected.tobytes(), name
    batch = model.logits(list(kinds.values()))
    assert batch.shape == (len(kinds), model.num_classes)
    assert all(row.tobytes() == expected[0].tobytes() for row in batch)
    assert model.logits(model.preprocess([photo, photo])).tobytes() == model.logits([photo, photo]).tobytes()


def test_contiguous_arrays_are_not_copied(model, photo):
    from igq._images import one_image

    pixels = np.asarray(PIL.open(photo).convert("RGB"))
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    assert np.shares_memory(one_image(pixels), pixels)


def test_gray_is_three_equal_channels(model):
    gray = np.arange(40 * 50, dtype=np.uint32).reshape(40, 50).astype(np.uint8)
    expected = model.logits(np.repeat(gray[:, :, None], 3, axis=2))
    assert model.logits(gray).tobytes() == expected.tobytes()
    assert model.logits(gray[:, :, None]).tobytes() == expected.tobytes()
    assert model.logits(PIL.fromarray(gray)).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "bad, fault",
    [
        (b"not an image", igq.Error),
        (b"", igq.Error),
        ("nothing.png", igq.Error),
        (np.zeros((0, 5, 3), np.uint8), igq.Error),
        (np.zeros((3, 5, 5), np.float32), igq.Error),
        (np.full((4, 4), np.nan), TypeError),
        (np.zeros((4, 4, 5), np.uint8), TypeError),
        (np.zeros((4, 4, 3), np.int64), TypeError),
        (None, TypeError),
        (3, TypeError),
    ],
)
def test_bad_images_are_exceptions(model, bad, fault):
    with pytest.raises(fault) as raised:
        model.logits(bad)
    assert "\n" not in str(raised.value)


def test_normalised_values_must_be_finite(model):
    values = np.zeros((3, *model.image_size), np.float32)
    values[1, 2, 3] = np.nan
    with pytest.raises(igq.Error, match="not finite"):
        model.logits(values)


def test_bad_models_and_options(checkpoint, igq_file, tmp_path):
    with pytest.raises(igq.Error, match="does not exist"):
        igq.Model(tmp_path / "nowhere")
    with pytest.raises(igq.Error):
        igq.Model(checkpoint, isa="sse9")
    with pytest.raises(igq.Error):
        igq.Model(checkpoint, execution="integer")
    with pytest.raises(igq.Error):
        igq.Model(igq_file, threads=-2)


def test_predictions(model, photo):
    one = model.predict(photo, topk=3)
    assert [set(p) for p in one] == [{"label", "score", "index"}] * 3
    assert one[0]["score"] >= one[1]["score"] >= one[2]["score"]
    assert model.predict([photo, photo], topk=3) == [one, one]
    assert model.predict([]) == []


def test_stream_keeps_order_and_reports_bad_images(model, photo):
    images = [photo, b"broken", photo.read_bytes(), "nothing.png", None, photo]
    stream = model.stream(iter(images), batch_size=2, on_error="skip")
    ids, rows = [], []
    for some, logits in stream:
        ids += some
        rows += list(logits)
    assert ids == [0, 2, 5]
    assert sorted(stream.errors) == [1, 3, 4]
    assert all(row.tobytes() == rows[0].tobytes() for row in rows)
    with pytest.raises(igq.Error):
        list(model.stream([photo, b"broken"]))


def test_many_threads_use_one_model(model, photo):
    expected = model.logits(photo).tobytes()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: model.logits([photo] * 3), range(40)):
            assert answer[0].tobytes() == expected and answer[2].tobytes() == expected


def test_the_gil_is_released(model, photo):
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(1)
            stop.wait(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    model.logits([photo] * 2000)  # with the GIL held the other thread could not tick meanwhile
    during = len(ticks) - before
    stop.set()
    thread.join()
    assert during > 3


def test_pickle(model, photo):
    again = pickle.loads(pickle.dumps(model))
    assert again.logits(photo).tobytes() == model.logits(photo).tobytes()
    assert again.execution == model.execution


def _in_child(model, photo, queue):
    queue.put(model.logits([photo] * 2).tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children(model, photo, method):
    expected = model.logits([photo] * 2).tobytes()  # the pool runs before the fork
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(model, photo, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0
    assert model.logits([photo] * 2).tobytes() == expected


def _worker(arguments):
    path, photo = arguments
    global _model
    _model = globals().get("_model") or igq.Model(path, threads=1)
    return _model.logits(photo).tobytes()


def test_a_pool_of_workers(igq_file, photo):
    expected = igq.Model(igq_file).logits(photo).tobytes()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert set(pool.map(_worker, [(str(igq_file), str(photo))] * 8)) == {expected}


def test_models_are_freed(igq_file, photo):
    for _ in range(20):
        igq.Model(igq_file).predict(photo)
    gc.collect()


def test_cpu_info_and_threads():
    info = igq.cpu_info()
    assert info["best_isa"] == info["isa"][-1] and "reference" in info["isa"] and info["cpu"]
    with pytest.raises(ValueError):
        igq.set_default_threads(-1)
    igq.set_default_threads(1)
    igq.set_default_threads(0)
