"""What benchmarks have encoded: the same texts and pictures in every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

WORDS: Final = (
    *("river", "mountain", "quiet", "garden", "blue", "engine", "letter", "morning", "window"),
    *("paper", "train", "music", "winter", "bridge", "story", "copper", "market", "island"),
    *("doctor", "silver", "forest", "kitchen", "planet", "coffee", "harbour", "soldier"),
    *("violin", "thunder", "basket", "library"),
)
PICTURES: Final = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
KINDS: Final = ("minilm_short", "minilm_long", "effnet")


def of_kind(kind: str) -> Sequence[str] | Sequence[bytes]:
    """Return what is encoded for one of KINDS."""
    if kind == "minilm_short":
        return texts(2000)
    if kind == "minilm_long":
        return long_texts(200)
    return images()


def texts(count: int) -> list[str]:
    """Return sentences of 6 to 18 common words, which are 8 to 20 tokens."""
    chance = random.Random(7)
    return [" ".join(chance.choices(WORDS, k=chance.randint(6, 18))) for _ in range(count)]


def long_texts(count: int) -> list[str]:
    """Return texts of 200 to 250 common words, which are 202 to 252 tokens."""
    chance = random.Random(8)
    return [" ".join(chance.choices(WORDS, k=chance.randint(200, 250))) for _ in range(count)]


def images() -> list[bytes]:
    """Return photos of 640 x 480 pixels as JPEG files, from the package of samples."""
    import cv2
    import skimage.data

    files = []
    for name in PICTURES:
        picture = cv2.cvtColor(getattr(skimage.data, name)(), cv2.COLOR_RGB2BGR)
        scale = max(640 / picture.shape[1], 480 / picture.shape[0])
        covering = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = (covering.shape[0] - 480) // 2, (covering.shape[1] - 640) // 2
        cut = covering[top : top + 480, left : left + 640]
        files.append(cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return files
