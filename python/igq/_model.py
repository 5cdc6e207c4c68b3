"""Model: a checkpoint or an .igq file that classifies images, from any number of Python threads."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union

import numpy as np

from . import _igq
from ._images import as_list, one_image

_default_threads = 0

Prediction = Dict[str, Any]


def set_default_threads(n: int) -> None:
    """Threads of models that are made from now on without `threads`; 0: what the process may use (see Model)."""
    global _default_threads
    if not 0 <= int(n) <= 1024:
        raise ValueError(f"{n} threads: give 1 to 1024, or 0 for what the process may use")
    _default_threads = int(n)


def thread_count(threads: Optional[int]) -> int:
    """`threads`, or for None what set_default_threads() was given."""
    return _default_threads if threads is None else threads


def version() -> str:
    """The version of the library."""
    return _igq.version()


def cpu_info() -> Dict[str, Any]:
    """{"cpu": name, "isa": the instruction sets that igq runs here, "best_isa": the one that "auto" means}."""
    isa = _igq.isa_names()
    return {"cpu": _igq.cpu_name(), "isa": isa, "best_isa": isa[-1]}


class Network:
    """What Model and Embedder share: how they are opened, pickled and described. `_open` makes the extension's object."""

    _open: Any

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
        self._model = self._open(
            os.fspath(path),
            architecture or "",
            height,
            width,
            thread_count(threads),
            isa,
            execution or "",
        )
        self._opened()

    def _opened(self) -> None:
        """For what else a kind of network needs once it is open."""

    def __reduce__(self):
        return _restore, (self._arguments, type(self))

    @property
    def image_size(self) -> Tuple[int, int]:
        """(height, width) of what the network sees."""
        return self._model.image_size

    @property
    def architecture(self) -> str:
        """timm's name."""
        return self._model.architecture


class Model(Network):
    """A model that runs: an .igq file, a checkpoint folder (config.json and model.safetensors) or a .safetensors file.

    Args:
        path: of the file or folder.
        threads: that one call is spread over; None: set_default_threads(), else IGQ_NUM_THREADS, OMP_NUM_THREADS, or
            what affinity and the container's CPU quota allow.
        isa: "auto" or one of cpu_info()["isa"]; results are the same bits.
        execution: "float", "simulate" or "integer"; None: integer for .igq files, float for others.
        architecture: timm's name, for a .safetensors file without config.json beside it.
        img_size: (height, width) other than the model's own; float models only.

    Calls may come from many threads at once; the GIL is released while they compute. A model can be pickled (as its
    path and options) and survives a fork.

    Raises:
        igq.Error: no such file, not a model igq runs, damaged, or options that do not fit it.
    """

    _open = _igq.Model

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"<igq.Model {self.architecture}: {self.num_classes} classes, {height}x{width}, {self.execution}, "
            f"{self.isa}>"
        )

    @property
    def num_classes(self) -> int:
        return self._model.num_classes

    @property
    def labels(self) -> List[str]:
        """Names of the classes; empty when the model has none."""
        return self._model.labels

    @property
    def execution(self) -> str:
        return self._model.execution

    @property
    def isa(self) -> str:
        return self._model.isa

    def logits(self, images: Any) -> np.ndarray:
        """Logits, float32 [n, num_classes]; of a single image [1, num_classes].

        `images`: one image or a list of them (see _images.one_image), or an array [n, h, w, 3] or [n, 3, h, w].
        The same bits for any batch and any number of threads.
        """
        items, _ = as_list(images)
        out = np.empty((len(items), self.num_classes), np.float32)
        self._model.logits(items, out, True)
        return out

    def predict(self, images: Any, topk: int = 5) -> Union[List[Prediction], List[List[Prediction]]]:
        """The `topk` most likely classes, best first: [{"label", "score", "index"}, ...]; of a list of images a list
        of such lists."""
        items, single = as_list(images)
        out = np.empty((len(items), self.num_classes), np.float32)
        self._model.logits(items, out, True)
        answers = [self.rank(row, topk) for row in out]
        return answers[0] if single else answers

    def rank(self, row: np.ndarray, topk: int = 5) -> List[Prediction]:
        """The `topk` most likely classes of logits [num_classes]."""
        ranked = self._model.rank(np.ascontiguousarray(row, np.float32), topk)
        return [{"label": label or f"LABEL_{index}", "score": score, "index": index} for index, label, score in ranked]

    def preprocess(self, images: Any) -> np.ndarray:
        """What the network sees of images: float32 [n, 3, height, width], resized, cropped and normalised."""
        items, _ = as_list(images)
        out = np.empty((len(items), 3, *self.image_size), np.float32)
        self._model.preprocess(items, out)
        return out

    def stream(self, images: Iterable[Any], batch_size: int = 64, on_error: str = "raise") -> "Stream":
        """Runs over any number of images in constant memory: an iterator of (ids, logits) in order.

        ids: positions in `images` [k]; logits: float32 [k, num_classes]. Decoding and inference share the model's
        threads. on_error="skip" leaves bad images out, and keeps their texts in `stream.errors`; "raise" ends at the
        first.
        """
        return Stream(self, images, batch_size, on_error)


def _restore(arguments: Dict[str, Any], kind: type = Model) -> Network:
    return kind(**arguments)


class Stream:
    """What Model.stream returns. `errors`: {id: text} of the images left out so far."""

    def __init__(self, model: Model, images: Iterable[Any], batch_size: int, on_error: str) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: give 1 or more")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error {on_error!r}: give 'raise' or 'skip'")
        self.errors: Dict[int, str] = {}
        self._model, self._source, self._size, self._skip = model, iter(images), batch_size, on_error == "skip"
        self._next = 0

    def __iter__(self) -> Iterator[Tuple[List[int], np.ndarray]]:
        return self

    def __next__(self) -> Tuple[List[int], np.ndarray]:
        while True:
            ids, items, taken = [], [], 0
            for image in self._source:
                at = self._next
                self._next += 1
                taken += 1
                try:
                    items.append(one_image(image))
                    ids.append(at)
                except TypeError as fault:
                    if not self._skip:
                        raise
                    self.errors[at] = str(fault)
                if taken == self._size:
                    break
            if taken == 0:
                raise StopIteration
            out = np.empty((len(items), self._model.num_classes), np.float32)
            faults = self._model._model.logits(items, out, not self._skip) if items else []
            good = [i for i in range(len(items)) if not faults or not faults[i]]
            for i, text in enumerate(faults):
                if text:
                    self.errors[ids[i]] = text
            if good:
                return [ids[i] for i in good], out if len(good) == len(items) else out[good]
