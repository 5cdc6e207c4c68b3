"""Embedder: vectors of images from an encoder, or from a classifier whose head is left aside."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from . import _igq
from ._images import as_list
from ._model import Network


class Embedder(Network):
    """Vectors of images, as `igq embed` writes them: for search, deduplication and zero-shot labels.

    Arguments, faults, pickling and forks are those of igq.Model; docs/embeddings.md says which vector a model gives.
    Calls of one embedder from several threads take turns, each with all of its threads.
    """

    _open = _igq.Embedder

    def _opened(self) -> None:
        self._turn, self._process = threading.Lock(), os.getpid()

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<igq.Embedder {self.architecture}: {self.width} values, {height}x{width}>"

    @property
    def width(self) -> int:
        """Values of a vector."""
        return self._model.width

    def embed(self, images: Any, normalize: bool = False) -> np.ndarray:
        """Vectors, float32 [n, width]; of a single image [1, width]; with `normalize` divided by their lengths.

        `images`: one image or a list of them (see _images.one_image), or an array [n, h, w, 3] or [n, 3, h, w].
        The same bits for any batch and any number of threads.
        """
        items, _ = as_list(images)
        out = np.empty((len(items), self.width), np.float32)
        if self._process != os.getpid():  # whoever had the turn when the process forked is not here
            self._turn, self._process = threading.Lock(), os.getpid()
        with self._turn:
            self._model.embed(items, out, normalize)
        return out
