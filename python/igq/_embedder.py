"""Embedder: vectors of images from an encoder, or from a classifier whose head is left aside."""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, Optional, Tuple, Union

import numpy as np

from . import _igq
from ._images import as_list
from ._model import default_threads


class Embedder:
    """Vectors of images, as `igq embed` writes them: for search, deduplication and zero-shot labels.

    Arguments, faults, pickling and forks are those of igq.Model; docs/embeddings.md says which vector a model gives.
    Calls of one embedder from several threads take turns, each with all of its threads.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike],
        threads: Optional[int] = None,
        isa: str = "auto",
        execution: Optional[str] = None,
        *,
        architecture: Optional[str] = None,
        img_size: Optional[Tuple[int, int]] = None,
    ) -> None:
        self._arguments = {
            "path": os.fspath(path),
            "threads": threads,
            "isa": isa,
            "execution": execution,
            "architecture": architecture,
            "img_size": img_size,
        }
        height, width = img_size or (0, 0)
        self._model = _igq.Embedder(
            os.fspath(path),
            architecture or "",
            height,
            width,
            default_threads() if threads is None else threads,
            isa,
            execution or "",
        )
        self._turn, self._process = threading.Lock(), os.getpid()

    def __reduce__(self):
        return _restore, (self._arguments,)

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<igq.Embedder {self.architecture}: {self.width} values, {height}x{width}>"

    @property
    def width(self) -> int:
        """Values of a vector."""
        return self._model.width

    @property
    def image_size(self) -> Tuple[int, int]:
        """(height, width) of what the network sees."""
        return self._model.image_size

    @property
    def architecture(self) -> str:
        """timm's name."""
        return self._model.architecture

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


def _restore(arguments: Dict[str, Any]) -> Embedder:
    return Embedder(**arguments)
