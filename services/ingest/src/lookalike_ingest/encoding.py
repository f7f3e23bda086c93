"""What the pipeline needs of the encoder service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias

from lookalike_common.errors import LookalikeError
from lookalike_ingest.media_types import Modality
from lookalike_ingest.segments import Box


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
    max_tokens: int = 0
    """Of one text; 0 where it takes none, or does not say."""
    fingerprint: str = ""
    """Equal means the same vectors, and the same objects."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object in a picture."""

    label: str
    score: float
    """How sure that is, from 0 to 1."""
    box: Box


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

    async def detect(
        self, encoder: str, picture: Content, *, min_score: float
    ) -> Sequence[FoundObject]:
        """Return the objects in a picture, best first; `min_score` 0 leaves it to the encoder."""


class PackVector(Protocol):
    """Packs vectors that callers bring."""

    def __call__(self, components: bytes, *, binary: bool) -> PackedVector:
        """Pack little-endian float32 components; of a binary vector each is a bit.

        Raises InvalidContentError for bits that are neither 0 nor 1.
        """
