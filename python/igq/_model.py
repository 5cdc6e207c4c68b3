"""Model: a checkpoint or an .igq file that runs, from any number of Python threads."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Union

import numpy as np

from . import _igq
from ._detector import Detection, Detector
from ._images import as_list
from ._network import Network
from ._stream import Stream

Prediction = Dict[str, Any]


def version() -> str:
    """The version of the library."""
    return _igq.version()


def cpu_info() -> Dict[str, Any]:
    """{"cpu": name, "isa": the instruction sets that igq runs here, "best_isa": the one that "auto" means,
    "threads": how many a model takes when nobody says}."""
    isa = _igq.isa_names()
    return {"cpu": _igq.cpu_name(), "isa": isa, "best_isa": isa[-1], "threads": _igq.default_threads()}


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

    What it is for is its `kind`: a "classifier" has predict(), logits(), embed() and features(), an "encoder" embed()
    and features(), a "detector" detect(). A method that a kind lacks raises igq.Error.

    Calls may come from many threads at once; the GIL is released while they compute. A model can be pickled (as its
    path and options) and survives a fork.

    Raises:
        igq.Error: no such file, not a model igq runs, damaged, or options that do not fit it.
    """

    def _open(self, path: str, threads: Any, isa: str, execution: Any, architecture: Any, img_size: Any) -> Any:
        self._detector: Optional[Detector] = None
        if not _igq.is_detector(path, architecture or ""):
            return super()._open(path, threads, isa, execution, architecture, img_size)
        if execution not in (None, "float"):
            raise _igq.Error(f"{path} is a detector, which runs in float only: leave execution={execution!r} away")
        if img_size is not None:
            raise _igq.Error(f"{path} is a detector, which takes pictures of any size: leave img_size away")
        self._detector = Detector(path, threads, isa, architecture=architecture)
        return None

    def __repr__(self) -> str:
        if self._detector is not None:
            return f"<igq.Model {self.architecture}: detector, {len(self.labels)} classes>"
        height, width = self.image_size
        what = f"{self.num_classes} classes" if self.num_classes else f"{self.width} values"
        return f"<igq.Model {self.architecture}: {what}, {height}x{width}, {self.execution}, {self.isa}>"

    @property
    def kind(self) -> str:
        """ "classifier", "encoder" (no head) or "detector"."""
        if self._detector is not None:
            return "detector"
        return "classifier" if self._model.num_classes else "encoder"

    @property
    def _model(self) -> Any:
        if self._detector is not None:
            raise _igq.Error(f"{self._arguments['path']} is a detector, which finds objects: use detect()")
        return self._opened

    @property
    def architecture(self) -> str:
        """timm's name, of a detector its own."""
        return self._detector.architecture if self._detector is not None else self._model.architecture

    @property
    def num_classes(self) -> int:
        """Of a classifier; an encoder has 0."""
        return len(self.labels) if self._detector is not None else self._model.num_classes

    @property
    def labels(self) -> List[str]:
        """Names of the classes; empty when the model has none."""
        return self._detector.labels if self._detector is not None else self._model.labels

    @property
    def execution(self) -> str:
        """ "float", "simulate" or "integer"."""
        return "float" if self._detector is not None else self._model.execution

    @property
    def isa(self) -> str:
        """The instruction set that it runs with."""
        return self._model.isa

    def logits(self, images: Any) -> np.ndarray:
        """Logits, float32 [n, num_classes]; of a single image [1, num_classes].

        `images`: one image or a list of them (see _images.one_image), or an array [n, h, w, 3] or [n, 3, h, w].
        The same bits for any batch and any number of threads.
        """
        return self._rows("logits", images)

    def predict(self, images: Any, topk: int = 5) -> Union[List[Prediction], List[List[Prediction]]]:
        """The `topk` most likely classes, best first: [{"label", "score", "index"}, ...]; of a list of images a list
        of such lists."""
        items, single = as_list(images)
        answers = [self.rank(row, topk) for row in self._rows("logits", items)]
        return answers[0] if single else answers

    def rank(self, row: np.ndarray, topk: int = 5) -> List[Prediction]:
        """The `topk` most likely classes of logits [num_classes]."""
        ranked = self._model.rank(np.ascontiguousarray(row, np.float32), topk)
        return [{"label": label or f"LABEL_{index}", "score": score, "index": index} for index, label, score in ranked]

    def embed(self, images: Any, normalize: bool = True) -> np.ndarray:
        """Vectors for search, float32 [n, width]; of a single image [1, width]; divided by their lengths, so that
        products of two are cosines, unless `normalize` is False.

        The vectors of `igq embed`: what the model pools, through its projection where it has one (docs/embeddings.md);
        of a classifier what its head reads. The same bits for any batch and any number of threads.
        """
        return self._rows("unit vectors" if normalize else "vectors", images)

    def features(self, images: Any) -> np.ndarray:
        """All tokens after the last norm, float32 [n, tokens, dim]: prefix tokens first (class, registers), then the
        patches row by row; of a Swin its map row by row. What `igq embed --tokens` writes."""
        return self._rows("tokens", images)

    def detect(
        self, images: Any, score_threshold: Optional[float] = None
    ) -> Union[List[Detection], List[List[Detection]]]:
        """The objects of a picture, best first; of a list of pictures a list of such lists. See Detector.detect: boxes
        [x, y, width, height] in pixels of the picture, scores 0 to 1, labels, masks bool [height, width] or None."""
        if self._detector is None:
            raise _igq.Error(f"{self._arguments['path']} is a {self.kind}, not a detector: it has no detect()")
        return self._detector.detect(images, score_threshold)

    def stream(
        self, images: Iterable[Any], batch_size: int = 64, on_error: str = "raise", output: Optional[str] = None
    ) -> Stream:
        """Runs over any number of images in constant memory: an iterator of (ids, rows) in order.

        ids: positions in `images` [k]; rows: float32 [k, num_classes] logits, of an encoder [k, width] vectors of
        length 1; `output` chooses: "logits" or "embedding". Decoding and inference share the model's threads.
        on_error="skip" leaves bad images out, and keeps their texts in `stream.errors`; "raise" ends at the first.
        """
        names = {"logits": "logits", "embedding": "unit vectors"}
        output = output or ("embedding" if self.kind == "encoder" else "logits")
        if output not in names:
            raise ValueError(f"output {output!r}: give 'logits' or 'embedding'")
        self._shape(names[output])  # a detector has none
        if output == "logits" and self.kind == "encoder":
            raise _igq.Error(f"{self._arguments['path']} is an encoder without a head: it has no logits")
        return Stream(self, images, batch_size, on_error, names[output])
