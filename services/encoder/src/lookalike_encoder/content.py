"""What callers send and what they get, in the encoder's own words: no protobuf, no numpy files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import LookalikeError
from lookalike_encoder.structure import StructureQuery
from lookalike_media import Box, PixelFormat, SampleFormat

Vectors = NDArray[np.float32]
"""float32 [rows, dimensions]."""

Bits = NDArray[np.uint8]
"""uint8 [rows, dimensions / 8]: eight dimensions a byte, lowest bit first."""


class Operation(Enum):
    """What is asked of an encoder; what one row of its output is depends on it."""

    ENCODE = "encode"
    """A vector: float32 [dimensions], or bits, uint8 [dimensions / 8]."""
    DETECT = "detect"
    """Objects, best first: float32 [objects, 6], left, top, right, bottom in pixels of the upright
    picture, score, and the place of the label in `Encoder.labels`."""
    RERANK = "rerank"
    """A vector of length 1 for each token: float32 [tokens, dimensions]."""
    MATCH_STRUCTURE = "match-structure"
    """Atoms of the candidate that match: int32 [atoms], none where only the fact counts, and one
    of -1 where it does not match."""


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
class TokensContent:
    """A text as its model reads it: prefix and frame are there, padding is not."""

    ids: bytes
    """int64 [tokens], little-endian."""

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.ids)


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


@dataclass(frozen=True, slots=True)
class AudioContent:
    """A sound file."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class RawAudioContent:
    """Decoded sound, channels interleaved."""

    data: bytes
    sample_rate: int
    """Samples a second and channel."""
    channels: int
    sample_format: SampleFormat

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class SmilesContent:
    """A molecule."""

    smiles: str

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.smiles)


@dataclass(frozen=True, slots=True)
class SequenceContent:
    """Nucleotides: IUPAC letters, or one FASTA record."""

    sequence: str

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.sequence)


Content = (
    TextContent
    | TokensContent
    | ImageContent
    | RawImageContent
    | AudioContent
    | RawAudioContent
    | SmilesContent
    | SequenceContent
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to encode."""

    content: Content
    regions: tuple[Box, ...] = ()
    """Parts of a picture, each to get a vector of its own; none: the whole gets one."""
    task: Task = Task.DOCUMENT
    operation: Operation = Operation.ENCODE
    structure: StructureQuery | None = None
    """What to match it with, for MATCH_STRUCTURE."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What became of an item."""

    vectors: NDArray[Any]
    """What the model made of each row, stacked: one for the whole, or one for each region in their
    order; `Operation` says what each is."""
    truncated: bool = False
    """The content was longer than the model reads."""
    canonical: str = ""
    """The content in canonical form, where there is one: canonical SMILES."""
    width: int = 0
    """Columns of the upright picture, where that was asked for."""
    height: int = 0
    """Its rows."""


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
