"""Network: what Model and Embedder share; how they are opened, pickled, described and run."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from . import _igq
from ._images import as_list

_default_threads = 0


def set_default_threads(n: int) -> None:
    """Threads of models that are made from now on without `threads`; 0: what the process may use (see Model)."""
    global _default_threads
    if not 0 <= int(n) <= 1024:
        raise ValueError(f"{n} threads: give 1 to 1024, or 0 for what the process may use")
    _default_threads = int(n)


def thread_count(threads: Optional[int]) -> int:
    """`threads`, or for None what set_default_threads() was given."""
    return _default_threads if threads is None else threads


class Network:
    """A network in memory. Calls may come from many threads at once; the GIL is released while they compute."""

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
        self._opened = self._open(**self._arguments)

    def _open(self, path: str, threads: Any, isa: str, execution: Any, architecture: Any, img_size: Any) -> Any:
        """The extension's object."""
        height, width = img_size or (0, 0)
        count = thread_count(threads)
        return _igq.Model(path, architecture or "", height, width, count, isa, execution or "")

    @property
    def _model(self) -> Any:
        return self._opened

    def __reduce__(self):
        return _restore, (self._arguments, type(self))

    @property
    def image_size(self) -> Tuple[int, int]:
        """(height, width) of what the network sees, in pixels."""
        return self._model.image_size

    @property
    def architecture(self) -> str:
        """timm's name."""
        return self._model.architecture

    @property
    def width(self) -> int:
        """Values of a vector that embed() gives."""
        return self._model.width

    @property
    def threads(self) -> int:
        """Threads that one call is spread over."""
        return thread_count(self._arguments["threads"]) or _igq.default_threads()

    def _shape(self, output: str) -> Tuple[int, ...]:
        """Of one row of an output that the extension knows by this name."""
        if output == "logits":
            return (self._model.num_classes,)
        return (self._model.tokens, self._model.token_width) if output == "tokens" else (self._model.width,)

    def _rows(self, output: str, images: Any) -> np.ndarray:
        """Float32 [n, ...] of one image or several; the first bad one is raised."""
        items, _ = as_list(images)
        out = np.empty((len(items), *self._shape(output)), np.float32)
        self._model.run(output, items, out, True)
        return out

    def _rows_and_faults(self, output: str, items: List[Any]) -> Tuple[np.ndarray, List[str], float]:
        """Rows of images as the extension takes them (zero where one is bad), a text for each (empty where it is well),
        and the seconds of reading, decoding and resizing them, summed over the threads."""
        out = np.empty((len(items), *self._shape(output)), np.float32)
        faults, seconds = self._model.run(output, items, out, False)
        return out, faults, seconds

    def preprocess(self, images: Any) -> np.ndarray:
        """What the network sees of images: float32 [n, 3, height, width], resized, cropped and normalised."""
        items, _ = as_list(images)
        out = np.empty((len(items), 3, *self.image_size), np.float32)
        self._model.preprocess(items, out)
        return out


def _restore(arguments: Dict[str, Any], kind: type) -> Network:
    return kind(**arguments)
