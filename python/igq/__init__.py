"""igq: vision transformers in real integers on a CPU (instance-aware group quantization).

    import igq
    model = igq.Model("my_vit.igq")
    model.predict("photo.jpg", topk=3)      # [{"label": ..., "score": ..., "index": ...}, ...]

numpy is all that is needed at run time. Every fault a user can cause is an `igq.Error` whose text says what, where and
how to mend it.
"""

from ._igq import Error
from ._model import Model, Stream, cpu_info, set_default_threads, version
from ._pipeline import pipeline

__version__ = version()
__all__ = [
    "Error",
    "Model",
    "Stream",
    "cpu_info",
    "pipeline",
    "set_default_threads",
    "version",
]
