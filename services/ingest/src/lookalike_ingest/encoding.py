"""What the pipeline needs of the encoder service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lookalike_common.errors import LookalikeError
from lookalike_ingest.media_types import Modality


@dataclass(frozen=True, slots=True)
class Content:
    """One raw thing to encode: a file's bytes as they are, or UTF-8 text."""

    modality: Modality
    data: bytes
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What is worth knowing before encoding."""

    modalities: frozenset[Modality]
    preferred_items: int
    """Items in a request that run fastest."""


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
