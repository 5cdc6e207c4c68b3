"""The extension module behind the package: plain functions that the package gives their shape."""

from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from numpy.typing import NDArray

class Error(RuntimeError):
    """A fault that a user can cause and mend; the text says what, where and how."""

class Cancelled(Error):
    """The caller stopped the work."""

class Model:
    def __init__(
        self, path: str, architecture: str, height: int, width: int, threads: int, isa: str, execution: str
    ) -> None: ...
    def run(
        self, output: str, images: list, out: NDArray[np.float32], raise_errors: bool
    ) -> Tuple[List[str], float]:
        """"logits" [n, num_classes], "vectors" or "unit vectors" [n, width] or "tokens" [n, tokens, token_width] into out.

        Returns a text per image, empty where it is well, and the seconds that reading, decoding and resizing took,
        summed over the threads.
        """

    def preprocess(self, images: list, out: NDArray[np.float32]) -> None:
        """Normalised values [n, 3, height, width] into out."""

    def rank(self, row: NDArray[np.float32], topk: int) -> List[Tuple[int, str, float]]:
        """(index, label, score) of the topk classes."""

    @property
    def num_classes(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def token_width(self) -> int: ...
    @property
    def image_size(self) -> Tuple[int, int]: ...
    @property
    def architecture(self) -> str: ...
    @property
    def labels(self) -> List[str]: ...
    @property
    def execution(self) -> str: ...
    @property
    def isa(self) -> str: ...

class Detector:
    def __init__(self, path: str, architecture: str, threads: int, isa: str) -> None: ...
    def detect(self, images: list, threshold: float) -> list:
        """Of the first image: (box, score, label, name, category, mask, mask height, mask width) each."""

    @property
    def labels(self) -> List[str]: ...
    @property
    def architecture(self) -> str: ...
    @property
    def default_threshold(self) -> float: ...

def is_detector(path: str, architecture: str) -> bool: ...
def quantize(
    model: str, calibration: str, output: str, settings: Dict[str, Any], report: Callable[[str, int, int], bool]
) -> str:
    """Writes the .igq file; a JSON document."""

def compare(a: str, b: str, images: str, limit: int, threads: int) -> str:
    """A JSON document."""

def run_program(arguments: List[str]) -> int:
    """The igq program; arguments[0] is its name. Returns the exit code."""

def isa_names() -> List[str]: ...
def cpu_name() -> str: ...
def default_threads() -> int:
    """Threads where nobody says: environment, affinity, quota."""

def version() -> str: ...
