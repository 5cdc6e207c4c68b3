"""Embedder: vectors of images from an encoder, or from a classifier whose head is left aside."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._network import Network


class Embedder(Network):
    """Vectors of images, as `igq embed` writes them: for search, deduplication and zero-shot labels.

    Arguments, faults, threads, pickling and forks are those of igq.Model; docs/embeddings.md says which vector a model
    gives.
    """

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<igq.Embedder {self.architecture}: {self.width} values, {height}x{width}>"

    def embed(self, images: Any, normalize: bool = False) -> np.ndarray:
        """Vectors, float32 [n, width]; of a single image [1, width]; with `normalize` divided by their lengths.

        `images`: one image or a list of them (see _images.one_image), or an array [n, h, w, 3] or [n, 3, h, w].
        The same bits for any batch and any number of threads.
        """
        return self._rows("unit vectors" if normalize else "vectors", images)
