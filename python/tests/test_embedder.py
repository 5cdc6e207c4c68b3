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
    with model._turn:  # held by somebody in the parent at the moment of the fork
        child.start()
    assert queue.get(timeout=30) == wanted
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
