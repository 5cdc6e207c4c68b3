"""What users hand over as images -> what the extension takes: str (a path), bytes (a file), uint8 or float32 arrays."""

from __future__ import annotations

import os
from typing import Any, List, Tuple

import numpy as np


def _pixels(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise TypeError(f"pixels must be uint8 [height, width, 3], not {list(array.shape)}")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return array[:, :, :3] if array.shape[2] == 4 else array  # alpha is dropped, not blended, as Pillow's convert does


def one_image(image: Any) -> Any:
    """One image as the extension takes it; an array that is contiguous (read-only ones too) is not copied.

    Accepts a path (str, os.PathLike), the bytes of an image file (bytes, bytearray, memoryview), a PIL image, a uint8
    array [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], or a float32 array [3, h, w] that is normalised already.
    """
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image) if not isinstance(os.fspath(image), bytes) else os.fsdecode(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return image if isinstance(image, bytes) else bytes(image)
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # a PIL image, without importing PIL
        return np.asarray(image.convert("RGB"))
    array = np.asarray(image)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(_pixels(array))
    if array.dtype in (np.float32, np.float64, np.float16) and array.ndim == 3 and array.shape[0] == 3:
        return np.ascontiguousarray(array, dtype=np.float32)
    raise TypeError(
        "an image must be a path, bytes, a PIL image, a uint8 array [height, width, 3] or a normalised float array "
        f"[3, height, width]; got {type(image).__name__}"
        + (f" of {array.dtype} {list(array.shape)}" if array.dtype != object else "")
    )


def is_batch(images: Any) -> bool:
    """Whether `images` is several images: a list, a tuple, or an array [n, h, w, c] or [n, 3, h, w]."""
    return isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4)


def as_list(images: Any) -> Tuple[List[Any], bool]:
    """Images as a list for the extension, and whether they were one image only."""
    if is_batch(images):
        return [one_image(image) for image in images], False
    return [one_image(images)], True
