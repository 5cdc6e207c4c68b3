"""Embedder: the vectors of `igq embed`, from every kind of call, in threads and in a forked child."""

import concurrent.futures
import multiprocessing
import pickle

import numpy as np
import pytest

import igq


@pytest.mark.parametrize("name", ["checkpoint", "igq_file"])
def test_same_bits_as_the_program(name, request, photo, program, tmp_path):
    path = request.getfixturevalue(name)
    program("embed", path, photo, "-o", tmp_path / "v.npy")
    wanted = np.load(tmp_path / "v.npy")
    model = igq.Embedder(path)
    assert wanted.shape == (1, model.width)
    assert model.embed(photo).tobytes() == wanted.tobytes()
    assert model.embed([photo] * 3).tobytes() == wanted.tobytes() * 3
    unit = model.embed(photo.read_bytes(), normalize=True)
    assert np.linalg.norm(unit) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(unit * np.linalg.norm(wanted), wanted, rtol=1e-5, atol=1e-6)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: model.embed(photo), range(8)):
            assert got.tobytes() == wanted.tobytes()
    assert pickle.loads(pickle.dumps(model)).embed(photo).tobytes() == wanted.tobytes()


def _in_child(model, photo, queue):
    queue.put(model.embed(photo).tobytes())


def test_works_in_a_forked_child(igq_file, photo):
    model = igq.Embedder(igq_file)
    wanted = model.embed(photo).tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(model, photo, queue))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # embed in the parent at the moment of the fork
        busy = [pool.submit(model.embed, [photo] * 500) for _ in range(2)]
        child.start()
        assert queue.get(timeout=30) == wanted
    assert all(rows.result().tobytes() == wanted * 500 for rows in busy)
    child.join(30)
    assert child.exitcode == 0


def test_faults(igq_file, photo):
    model = igq.Embedder(igq_file)
    with pytest.raises(igq.Error, match="nothing.png"):
        model.embed([photo, "nothing.png"])
    with pytest.raises(TypeError):
        model.embed(7)
    with pytest.raises(igq.Error):
        igq.Embedder("nothing.igq")


@pytest.fixture(scope="module")
def encoder(root):
    return root / "tests/fixtures/towers/clip"


def test_a_model_gives_vectors_and_tokens(igq_file, photo, program, tmp_path):
    model = igq.Model(igq_file)
    assert model.kind == "classifier"
    program("embed", igq_file, photo, "-o", tmp_path / "v.npy", "--normalize")
    assert model.embed(photo).tobytes() == np.load(tmp_path / "v.npy").tobytes()
    assert model.embed(photo, normalize=False).tobytes() == igq.Embedder(igq_file).embed(photo).tobytes()
    program("embed", igq_file, photo, "-o", tmp_path / "t.npy", "--tokens")
    tokens = np.load(tmp_path / "t.npy")
    assert model.features(photo).shape == (1, *tokens.shape)
    assert model.features([photo] * 5).tobytes() == tokens.tobytes() * 5
    with concurrent.futures.ThreadPoolExecutor(6) as pool:  # three outputs of one model at a time
        calls = [pool.submit(m, photo) for m in (model.features, model.embed, model.logits) * 6]
        alone = [m(photo).tobytes() for m in (model.features, model.embed, model.logits)] * 6
        assert [c.result().tobytes() for c in calls] == alone


def test_an_encoder_is_a_model_without_classes(encoder, photo):
    model = igq.Model(encoder)
    assert model.kind == "encoder" and model.num_classes == 0 and model.labels == []
    assert model.embed([photo, photo]).shape == (2, model.width)
    for call in (model.logits, model.predict, lambda x: model.stream([x], output="logits"), model.detect):
        with pytest.raises(igq.Error, match="encoder"):
            call(photo)
    stream = model.stream([photo, b"broken", photo], batch_size=2, on_error="skip")
    ids, rows = zip(*stream)
    assert sum(ids, []) == [0, 2] and list(stream.errors) == [1]
    assert np.concatenate(rows).tobytes() == model.embed(photo).tobytes() * 2


def test_feature_extraction_nests_as_transformers_does(encoder, photo):
    model = igq.Model(encoder)
    pipe = igq.pipeline(model)
    assert pipe.task == "image-feature-extraction"
    assert np.array_equal(np.float32(pipe(str(photo))), model.features(photo))
    vectors = model.embed([photo] * 2, normalize=False)
    assert np.array_equal(np.float32(pipe([photo, photo], pool=True)), vectors[:, None])
    assert pipe(photo, return_tensors=True).shape == model.features(photo).shape
    with pytest.raises(ValueError, match="image-feature-extraction"):
        igq.pipeline(model, task="image-classification")
