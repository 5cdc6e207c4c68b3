"""igq.pipeline: what transformers.pipeline returns, so that a service can swap one for the other in a line."""

from __future__ import annotations

import os
from typing import Any, List, Optional, Union

import numpy as np

from ._detector import Detector
from ._embedder import Embedder
from ._images import is_batch
from ._model import Model

_TASKS = ("image-classification", "object-detection", "image-feature-extraction")


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

    def __init__(self, model: Union[Model, Detector], threshold: float = 0.5) -> None:
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


class ImageFeatureExtraction:
    """transformers' image-feature-extraction pipeline: nested lists [1][tokens][dim] of an image, one per image of a
    list; [1][dim] with pool=True, the vector of embed() (without the dense layer that ViTModel and DeiTModel put behind
    the class token; of a classifier what its head reads). With return_tensors=True numpy arrays of these shapes."""

    task = "image-feature-extraction"

    def __init__(self, model: Union[Model, Embedder]) -> None:
        self.model = model

    def __call__(
        self, inputs: Any, pool: Optional[bool] = None, return_tensors: Optional[bool] = None, **kwargs: Any
    ) -> List[Any]:
        if kwargs:
            raise TypeError(f"unknown argument {sorted(kwargs)[0]!r}")
        rows = self.model._rows("vectors" if pool else "tokens", inputs)
        answers = [row[None] if return_tensors else row[None].tolist() for row in rows]
        return answers if is_batch(inputs) else answers[0]


def pipeline(
    model: Union[Model, Detector, Embedder, str, os.PathLike], task: Optional[str] = None, **options: Any
) -> Union[ImageClassification, ObjectDetection, ImageFeatureExtraction]:
    """A callable that answers as `transformers.pipeline(task)` does for the same image.

    `model`: a Model, Detector or Embedder, or a path (then `options` go to Model). `task`: "image-classification",
    "object-detection" or "image-feature-extraction"; None: what the model is for.
    """
    if task is not None and task not in _TASKS:
        raise ValueError(f"task {task!r}: igq has {', '.join(_TASKS)}")
    if not isinstance(model, (Model, Detector, Embedder)):
        model = Model(model, **options)
    elif options:
        raise TypeError("options are for a model given by its path")
    kind = "detector" if isinstance(model, Detector) else "encoder" if isinstance(model, Embedder) else model.kind
    fit = {
        "classifier": ["image-classification", "image-feature-extraction"],
        "encoder": ["image-feature-extraction"],
        "detector": ["object-detection"],
    }[kind]
    if (task or fit[0]) not in fit:
        raise ValueError(f"task {task!r}: this model is for {' and '.join(fit)}")
    kinds = {k.task: k for k in (ImageClassification, ObjectDetection, ImageFeatureExtraction)}
    return kinds[task or fit[0]](model)
