"""What callers send and what they get, in the encoder's own words: no protobuf, no numpy files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import LookalikeError
from lookalike_media import Box, PixelFormat

Vectors = NDArray[np.float32]
"""float32 [rows, dimensions]."""


class Task(Enum):
    """What a vector is for; some models prepare questions and documents differently."""

    QUERY = "query"
    DOCUMENT = "document"


class Priority(Enum):
    """Who waits."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class TextContent:
    """Text."""

    text: str

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.text)


@dataclass(frozen=True, slots=True)
class ImageContent:
    """An image file."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class RawImageContent:
    """A decoded image: rows from the top, without padding."""

    data: bytes
    width: int
    height: int
    pixel_format: PixelFormat

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.data)


Content = TextContent | ImageContent | RawImageContent


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to encode."""

    content: Content
    regions: tuple[Box, ...] = ()
    """Parts of a picture, each to get a vector of its own; none: the whole gets one."""
    task: Task = Task.DOCUMENT


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What became of an item."""

    vectors: Vectors
    """One row for the whole, or one for each region in their order."""
    truncated: bool = False
    """The content was longer than the model reads."""


Outcome = Encoded | LookalikeError
"""An item's vectors, or why it alone failed."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one request went."""

    queue: timedelta
    preprocess: timedelta
    inference: timedelta


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: an outcome for each item, in their order."""

    outcomes: tuple[Outcome, ...]
    timings: Timings
    batch_rows: int
    """Rows in the last run of the model that served it, other callers' among them."""
