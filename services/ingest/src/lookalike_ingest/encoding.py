"""What the pipeline needs of the encoder service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias

from lookalike_common.errors import LookalikeError
from lookalike_ingest.media_types import Modality


@dataclass(frozen=True, slots=True)
class RawPicture:
    """Bytes are RGB8 pixels, rows from the top, without padding."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RawSound:
    """Bytes are samples of one channel, little-endian int16."""

    sample_rate: int
    """Samples a second."""


@dataclass(frozen=True, slots=True)
class Content:
    """One raw thing to encode: a file's bytes as they are, UTF-8 text, pixels or samples."""

    modality: Modality
    data: bytes
    media_type: str = ""
    raw: RawPicture | RawSound | None = None
    """How to read the bytes, where they are no file and no text."""


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What is worth knowing before encoding."""

    modalities: frozenset[Modality]
    preferred_items: int
    """Items in a request that run fastest."""
    min_duration: timedelta = timedelta(0)
    """Of one sound."""
    max_duration: timedelta | None = None
    """Of one sound; None where it takes none, or does not say."""


PackedVector: TypeAlias = bytes
"""A vector as services exchange it; the pipeline hands it on and never looks inside."""


class Encoder(Protocol):
    """Turns content into vectors. Errors are those of `lookalike_common.errors`."""

    async def describe(self, encoder: str, *, fresh: bool = False) -> EncoderFacts:
        """Return an encoder's facts, asked for anew if `fresh`."""

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content]
    ) -> Sequence[PackedVector | LookalikeError]:
        """Return a vector, or why there is none, for each content in order."""
