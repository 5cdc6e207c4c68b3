"""igq.pipeline: what transformers.pipeline returns, so that a service can swap one for the other in a line."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

import numpy as np

from . import _igq
from ._detector import Detector
from ._images import is_batch
from ._model import Model

_TASKS = ("image-classification", "object-detection")


class ImageClassification:
    """transformers' image-classification pipeline: [{"label", "score"}, ...], best first; a list per image of a list."""

    task = "image-classification"

    def __init__(self, model: Model, top_k: int = 5) -> None:
        self.model, self.top_k = model, top_k

    def __call__(self, inputs: Any, top_k: Optional[int] = None, function_to_apply: Optional[str] = None, **kwargs: Any):
        if kwargs:
            raise TypeError(f"unknown argument {sorted(kwargs)[0]!r}")
        top_k = min(top_k or self.top_k, self.model.num_classes)
        if function_to_apply not in (None, "softmax", "sigmoid", "none"):
            raise ValueError(f"function_to_apply {function_to_apply!r}: give 'softmax', 'sigmoid' or 'none'")
        logits = self.model.logits(inputs)
        answers = [self._rank(row, top_k, function_to_apply) for row in logits]
        return answers if is_batch(inputs) else answers[0]

    def _rank(self, row: np.ndarray, top_k: int, function: Optional[str]):
        ranked = self.model.rank(row, top_k)
        if function == "none":
            scores = row.astype(np.float64)
        elif function == "sigmoid":
            scores = 1.0 / (1.0 + np.exp(-row.astype(np.float64)))
        elif function == "softmax":
            shifted = np.exp(row.astype(np.float64) - row.max())
            scores = shifted / shifted.sum()
        else:
            return [{"label": r["label"], "score": r["score"]} for r in ranked]
        return [{"label": r["label"], "score": float(scores[r["index"]])} for r in ranked]


class ObjectDetection:
    """transformers' object-detection pipeline: [{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}, ...]."""

    task = "object-detection"

    def __init__(self, model: Detector, threshold: float = 0.5) -> None:
        self.model, self.threshold = model, threshold

    def __call__(self, inputs: Any, threshold: Optional[float] = None, **kwargs: Any):
        if kwargs:
            raise TypeError(f"unknown argument {sorted(kwargs)[0]!r}")
        single = not is_batch(inputs)
        found = self.model.detect(inputs, self.threshold if threshold is None else threshold)
        answers = [[self._entry(d) for d in objects] for objects in ([found] if single else found)]
        return answers[0] if single else answers

    @staticmethod
    def _entry(d: dict) -> dict:
        x, y, width, height = d["box"]
        corners = (x, y, x + width, y + height)  # transformers truncates them to integers
        box = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(int, corners)))
        return {"score": d["score"], "label": d["label"], "box": box}


def pipeline(
    model: Union[Model, Detector, str, os.PathLike], task: Optional[str] = None, **options: Any
) -> Union[ImageClassification, ObjectDetection]:
    """A callable that answers as `transformers.pipeline(task)` does for the same image.

    `model`: a Model or Detector, or a path (then `options` go to it). `task`: "image-classification" or
    "object-detection"; None: what the model is for.
    """
    if task is not None and task not in _TASKS:
        raise ValueError(f"task {task!r}: igq has {', '.join(_TASKS)}")
    if not isinstance(model, (Model, Detector)):
        detects = _igq.is_detector(os.fspath(model), options.get("architecture") or "")
        model = (Detector if detects else Model)(model, **options)
    elif options:
        raise TypeError("options are for a model given by its path")
    answer = ObjectDetection(model) if isinstance(model, Detector) else ImageClassification(model)
    if task is not None and task != answer.task:
        raise ValueError(f"task {task!r}: this model is for {answer.task}")
    return answer
