"""igq.ray: bulk inference on many machines by Ray Data (`pip install '.[ray]'`); examples/ray_embed.py is a script.

    dataset = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
    dataset = dataset.map_batches(igq.ray.Embedder, fn_constructor_kwargs={"model": "model.igq", "column": "bytes"},
                                  batch_format="pyarrow", batch_size=64, num_cpus=1,
                                  compute=ray.data.ActorPoolStrategy(min_size=1, max_size=16))
    dataset.write_parquet("s3://bucket/vectors")

Pixels never enter Ray's object store: paths or the bytes of files go in, decoding happens in the actor, and vectors or
labels and a column `error` come out. An actor computes on as many threads as it has processors (num_cpus).
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any, Dict, List, Optional

import numpy as np
import pyarrow as pa

from ._images import one_image
from ._model import Model

__all__ = ["Embedder", "Metrics", "Predictor"]


class Metrics:
    """What the actors did. Run as an actor itself: ray.remote(num_cpus=0)(igq.ray.Metrics).remote(), handed to every
    Embedder or Predictor as `metrics`; ray.get(handle.summary.remote()) sums up."""

    def __init__(self) -> None:
        self._workers: Dict[Any, Dict[str, float]] = {}

    def add(self, worker: Any, news: Dict[str, float]) -> None:
        """News of one batch: images, bad images, seconds times threads, those of decoding, peak bytes of memory."""
        known = self._workers.setdefault(worker, dict.fromkeys(news, 0))
        for name, value in news.items():
            known[name] = max(known[name], value) if name == "peak_bytes" else known[name] + value

    def summary(self) -> Dict[str, float]:
        """{"workers", "images", "bad_images", "images_per_s_per_core": images a second that one core computed,
        "decoding_percent": of the time in the actors, what reading, decoding and resizing took, "peak_mb_per_worker":
        the largest}."""
        workers = list(self._workers.values())
        total = {name: sum(w[name] for w in workers) for name in ("images", "bad_images", "core_s", "decoding_s")}
        return {
            "workers": len(workers),
            "images": int(total["images"]),
            "bad_images": int(total["bad_images"]),
            "images_per_s_per_core": total["images"] / total["core_s"] if total["core_s"] else 0.0,
            "decoding_percent": 100.0 * total["decoding_s"] / total["core_s"] if total["core_s"] else 0.0,
            "peak_mb_per_worker": max((w["peak_bytes"] for w in workers), default=0) / 1e6,
        }


class _Worker:
    """A model in an actor: a batch (pyarrow.Table) with a column of paths or of bytes -> the batch with new columns."""

    _output = ""

    def __init__(self, model: Any, column: str = "path", metrics: Any = None, **options: Any) -> None:
        """model: of igq.Model, which the machines of all actors can read; options: as igq.Model's. column: paths (str)
        or bytes of image files. metrics: handle of an actor Metrics."""
        self.model = Model(model, **options)
        self.model._shape(self._output)  # a model that has no such output is refused here, not at the first batch
        self._column, self._metrics = column, metrics
        self._name = f"{os.uname().nodename}:{os.getpid()}"

    def __call__(self, batch: pa.Table) -> pa.Table:
        start = time.monotonic()
        column = batch.column(self._column)
        items: List[Any] = []
        faults: List[Optional[str]] = []
        places: List[int] = []
        for at, image in enumerate(column.to_pylist()):
            try:
                items.append(one_image(image))
                places.append(at)
                faults.append(None)
            except TypeError as fault:
                faults.append(str(fault))
        rows, texts, decoding = self.model._rows_and_faults(self._output, items)
        for at, text in zip(places, texts):
            faults[at] = text or None
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            batch = batch.drop_columns([self._column])  # the files have been read; only what they gave goes on
        good = iter(row for row, text in zip(rows, texts) if not text)
        answers = [None if fault else next(good) for fault in faults]
        for name, values in self._columns(answers).items():
            batch = batch.append_column(name, values)
        batch = batch.append_column("error", pa.array(faults, pa.string()))
        self._report(faults, time.monotonic() - start, decoding)
        return batch

    def _columns(self, answers: List[Optional[np.ndarray]]) -> Dict[str, pa.Array]:
        """New columns of what the model gave; None where the image is bad."""
        raise NotImplementedError

    def _report(self, faults: List[Optional[str]], seconds: float, decoding: float) -> None:
        if self._metrics is None:
            return
        news = {
            "images": len(faults),
            "bad_images": sum(fault is not None for fault in faults),
            "core_s": seconds * self.model.threads,
            "decoding_s": decoding,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        self._metrics.add.remote(self._name, news)


class Embedder(_Worker):
    """For map_batches: adds `embedding`, list<float32> of the model's width (null where the image is bad), and `error`.

    Arguments: model, column, metrics, normalize (vectors of length 1, the default), options of igq.Model. The same bits
    as Model.embed() for any size of batches and any number of actors.
    """

    def __init__(
        self, model: Any, column: str = "path", metrics: Any = None, normalize: bool = True, **options: Any
    ) -> None:
        self._output = "unit vectors" if normalize else "vectors"
        super().__init__(model, column, metrics, **options)

    def _columns(self, answers: List[Optional[np.ndarray]]) -> Dict[str, pa.Array]:
        offsets: List[Optional[int]] = []
        length = 0
        for row in answers:
            offsets.append(None if row is None else length)
            length += 0 if row is None else len(row)
        good = [row for row in answers if row is not None]
        values = np.concatenate(good) if good else np.empty(0, np.float32)
        lists = pa.ListArray.from_arrays(pa.array([*offsets, length], pa.int32()), pa.array(values, pa.float32()))
        return {"embedding": lists}


class Predictor(_Worker):
    """For map_batches: adds `labels`, `scores` and `indices`, lists of the topk classes, best first (null where the
    image is bad), and `error`. Arguments: model, column, metrics, topk, options of igq.Model."""

    _output = "logits"

    def __init__(self, model: Any, column: str = "path", metrics: Any = None, topk: int = 5, **options: Any) -> None:
        super().__init__(model, column, metrics, **options)
        self.model.labels  # an encoder has none: it is refused below
        if self.model.kind != "classifier":
            raise ValueError(f"{model} is no classifier but an {self.model.kind}: use igq.ray.Embedder")
        self._topk = topk

    def _columns(self, answers: List[Optional[np.ndarray]]) -> Dict[str, pa.Array]:
        ranked = [None if row is None else self.model.rank(row, self._topk) for row in answers]
        kinds = {"label": pa.string(), "score": pa.float64(), "index": pa.int32()}
        names = {"label": "labels", "score": "scores", "index": "indices"}
        return {
            names[key]: pa.array([r and [p[key] for p in r] for r in ranked], pa.list_(kind))
            for key, kind in kinds.items()
        }
