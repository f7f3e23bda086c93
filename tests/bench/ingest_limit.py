"""What reading, decoding and encoding a folder of photos takes in-process, on one core.

Questions: `folder` and `files`; the answer is how many a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import cv2

from tests.bench.encoder_limit import image_run
from tests.bench.worker import answer

_WINDOW: Final = 32
_BATCH: Final = 2
"""The batch that was best for photos on one core."""


def reply(question: dict[str, Any]) -> float:
    """Return photos a second."""
    paths = sorted(Path(question["folder"]).iterdir())[: int(question["files"])]
    begun = time.perf_counter()
    for start in range(0, len(paths), _WINDOW):
        pictures = [path.read_bytes() for path in paths[start : start + _WINDOW]]
        image_run(pictures)(0, len(pictures), _BATCH)
    return len(paths) / (time.perf_counter() - begun)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    answer(reply)
