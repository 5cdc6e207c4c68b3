"""igq: vision transformers in real integers on a CPU (instance-aware group quantization).

    import igq
    model = igq.Model("my_vit.igq")
    model.predict("photo.jpg", topk=3)      # [{"label": ..., "score": ..., "index": ...}, ...]

numpy is all that is needed at run time. Every fault a user can cause is an `igq.Error` whose text says what, where and
how to mend it.
"""

from ._detector import Detector
from ._embedder import Embedder
from ._igq import Cancelled, Error
from ._model import Model, cpu_info, version
from ._network import set_default_threads
from ._pipeline import pipeline
from ._quantize import compare, quantize
from ._stream import Stream

__version__ = version()
__all__ = [
    "Cancelled",
    "Detector",
    "Embedder",
    "Error",
    "Model",
    "Stream",
    "compare",
    "cpu_info",
    "pipeline",
    "quantize",
    "set_default_threads",
    "version",
]
