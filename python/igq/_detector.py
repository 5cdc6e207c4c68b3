"""Detector: boxes, labels, scores and masks in pictures."""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, List, Optional, Union

import numpy as np

from . import _igq
from ._images import as_list
from ._network import thread_count

Detection = Dict[str, Any]


class Detector:
    """Mask R-CNN and its kin with Swin, YOLOS or DETR, from a checkpoint folder or a .safetensors file.

    Calls may come from many threads; they run one after the other.

    Raises:
        igq.Error: no such file, not a detector igq runs, or damaged.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike],
        threads: Optional[int] = None,
        isa: str = "auto",
        *,
        architecture: Optional[str] = None,
    ) -> None:
        self._arguments = (os.fspath(path), threads, isa, architecture)
        self._detector = _igq.Detector(os.fspath(path), architecture or "", thread_count(threads), isa)
        self._lock, self._process = threading.Lock(), os.getpid()

    def __reduce__(self):
        return _restore, self._arguments

    @property
    def labels(self) -> List[str]:
        return self._detector.labels

    @property
    def architecture(self) -> str:
        return self._detector.architecture

    def detect(
        self, images: Any, score_threshold: Optional[float] = None
    ) -> Union[List[Detection], List[List[Detection]]]:
        """The objects of a picture, best first; of a list of pictures a list of such lists.

        `images`: paths, bytes, PIL images or uint8 arrays [height, width, 3]. `score_threshold`: None for the
        checkpoint's own. Each object: {"box": [x, y, width, height] in pixels of the picture, "score", "label",
        "index", "category_id", "mask": bool [height, width] or None}.
        """
        items, single = as_list(images)
        if self._process != os.getpid():  # whoever had the lock when the process forked is not here
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            answers = [self._one(item, -1.0 if score_threshold is None else float(score_threshold)) for item in items]
        return answers[0] if single else answers

    def _one(self, item: Any, threshold: float) -> List[Detection]:
        objects = []
        for box, score, index, name, category, mask, height, width in self._detector.detect([item], threshold):
            pixels = np.frombuffer(mask, np.uint8).reshape(height, width).astype(bool) if height else None
            objects.append(
                {
                    "box": list(box),
                    "score": score,
                    "label": name,
                    "index": index,
                    "category_id": category,
                    "mask": pixels,
                }
            )
        return objects


def _restore(path, threads, isa, architecture) -> Detector:
    return Detector(path, threads, isa, architecture=architecture)
