"""Stream: any number of images through a model in constant memory, in order."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Tuple

import numpy as np

from ._images import one_image
from ._network import Network


class Stream:
    """What Model.stream returns. `errors`: {id: text} of the images left out so far."""

    def __init__(
        self, model: Network, images: Iterable[Any], batch_size: int, on_error: str, output: str = "logits"
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: give 1 or more")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error {on_error!r}: give 'raise' or 'skip'")
        self.errors: Dict[int, str] = {}
        self._model, self._source, self._size, self._skip = model, iter(images), batch_size, on_error == "skip"
        self._output = output
        self._next = 0

    def __iter__(self) -> Iterator[Tuple[List[int], np.ndarray]]:
        return self

    def _take(self) -> Tuple[List[int], List[Any]]:
        """The next images and their ids; StopIteration when the source has none."""
        ids: List[int] = []
        items: List[Any] = []
        taken = 0
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
        return ids, items

    def __next__(self) -> Tuple[List[int], np.ndarray]:
        while True:
            ids, items = self._take()
            if not items:
                continue
            if not self._skip:
                return ids, self._model._rows(self._output, items)
            out, faults, _ = self._model._rows_and_faults(self._output, items)
            self.errors.update({id_: text for id_, text in zip(ids, faults) if text})
            good = [i for i, text in enumerate(faults) if not text]
            if good:
                return [ids[i] for i in good], out if len(good) == len(items) else out[good]
