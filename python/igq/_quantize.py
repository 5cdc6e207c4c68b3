"""igq.quantize and igq.compare: what the program's verbs do, with progress that can stop the work."""

from __future__ import annotations

import json
import os
import queue
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from . import _igq
from ._network import thread_count

Path = Union[str, os.PathLike]
Progress = Callable[[str, int, int], Optional[bool]]


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _options(flags: Dict[str, Any]) -> List[Tuple[str, str]]:
    pairs = []
    for name, value in flags.items():
        if value is None:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        pairs += [(name.replace("_", "-"), _text(v)) for v in values]
    return pairs


def quantize(
    src: Path,
    calib: Path,
    out: Path,
    preset: Optional[str] = None,
    bits: str = "w8a8",
    progress: Optional[Progress] = None,
    *,
    samples: int = 32,
    held_back: Optional[int] = None,
    overwrite: bool = False,
    threads: Optional[int] = None,
    isa: str = "auto",
    architecture: Optional[str] = None,
    **flags: Any,
) -> Dict[str, Any]:
    """Makes a quantized model: the bytes that `igq quantize` makes of the same model, images and flags.

    Args:
        src: checkpoint folder, .safetensors file (with `architecture`) or "hf:org/name".
        calib: folder of images that calibrate; labels are not needed.
        out: the .igq file to write.
        preset: "best" (None) or "paper". bits: "w4a4", "w8a8", ... or "auto".
        progress: progress(stage, done, total), called in the caller's thread; False stops the work.
        samples: images that calibrate. held_back: images that only measure the result; None: up to 32.
        flags: every other flag of `igq quantize` that decides the result, e.g. groups=8, keep="head", balance=True,
            site_bits=["mlp=w8a8"].

    Returns:
        {"output", "settings", "calibration_images", "seconds", "file_mb", "notes", "verdict": {...}} as
        `igq quantize --json` prints them.

    Raises:
        igq.Cancelled (an igq.Error): progress returned False. KeyboardInterrupt: Ctrl-C. Either leaves no file.
        igq.Error: anything wrong with files or flags.
    """
    settings = {
        "overwrite": overwrite,
        "samples": int(samples),
        "held_back": -1 if held_back is None else int(held_back),
        "threads": int(thread_count(threads)),
        "isa": isa,
        "architecture": architecture or "",
        "options": _options({"preset": preset, "bits": bits, **flags}),
    }
    # The work runs in a thread of its own: this one calls `progress` and hears of Ctrl-C.
    stop = threading.Event()
    heard: "queue.SimpleQueue[Optional[Tuple[str, int, int]]]" = queue.SimpleQueue()
    outcome: Dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> bool:
        heard.put((stage, done, total))
        return not stop.is_set()

    def work() -> None:
        try:
            outcome["document"] = _igq.quantize(os.fspath(src), os.fspath(calib), os.fspath(out), settings, report)
        except BaseException as fault:  # given to the caller below
            outcome["fault"] = fault
        finally:
            heard.put(None)

    worker = threading.Thread(target=work, name="igq.quantize")
    worker.start()
    try:
        while True:
            news = heard.get()
            if news is None:
                break
            if progress is not None and not stop.is_set() and progress(*news) is False:
                stop.set()
    except BaseException:
        stop.set()
        worker.join()
        raise
    worker.join()
    if "fault" in outcome:
        raise outcome["fault"]
    return json.loads(outcome["document"])


def compare(a: Path, b: Path, images: Path, limit: int = 0, threads: Optional[int] = None) -> Dict[str, Any]:
    """Model `b` against model `a` on the images of a folder, at most `limit` (0: all).

    Returns {"a", "b", "images", "agreement" (percent of the same class), "logits_snr_db", "flips": [{"file", "a", "b"}]}.
    """
    count = int(thread_count(threads))
    return json.loads(_igq.compare(os.fspath(a), os.fspath(b), os.fspath(images), int(limit), count))
