"""igq.pipeline answers as transformers.pipeline does: keys, order, nesting."""

import math

import pytest

import igq


@pytest.fixture(scope="module")
def classify(checkpoint):
    return igq.pipeline(igq.Model(checkpoint))


def test_one_image_and_a_list(classify, photo):
    one = classify(str(photo))
    assert all(set(answer) == {"label", "score"} for answer in one) and len(one) == min(5, classify.model.num_classes)
    assert classify([str(photo), str(photo)]) == [one, one]
    assert len(classify(photo, top_k=2)) == 2


def test_functions(classify, photo):
    softmax = classify(photo, top_k=100)
    assert len(softmax) == classify.model.num_classes
    assert math.isclose(sum(a["score"] for a in softmax), 1.0, rel_tol=1e-6)
    logits = {a["label"]: a["score"] for a in classify(photo, top_k=100, function_to_apply="none")}
    for answer in classify(photo, top_k=100, function_to_apply="sigmoid"):
        assert math.isclose(answer["score"], 1 / (1 + math.exp(-logits[answer["label"]])), rel_tol=1e-9)


def test_by_path_and_bad_options(checkpoint, photo):
    assert igq.pipeline(str(checkpoint), threads=1)(photo)
    with pytest.raises(ValueError):
        igq.pipeline(str(checkpoint), task="translation")
    with pytest.raises(TypeError):
        igq.pipeline(str(checkpoint))(photo, unknown=1)
