"""What search needs from the encoder service."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from lookalike_common.errors import LookalikeError
from lookalike_search.model import Metric, Task, Vector, VectorKind

MAX_SMILES: Final = 4096
"""Characters of a molecule that is compared."""


class ContentKind(StrEnum):
    """Which form a raw thing has; the names are those of `lookalike.type.v1.Content`'s fields."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    RAW_IMAGE = "raw_image"
    RAW_AUDIO = "raw_audio"
    SMILES = "smiles"
    SEQUENCE = "sequence"
    ASSET = "asset"


class Relation(StrEnum):
    """How a molecule relates to one that is asked for."""

    SAME = "same"
    CONTAINS = "contains"
    """It contains the one that is asked for."""
    IS_CONTAINED = "is_contained"
    """The one that is asked for contains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One raw thing. Search hands it on and never looks inside."""

    kind: ContentKind
    data: bytes
    """The bytes as received; texts in UTF-8."""
    media_type: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)
    """For raw forms: width, height and so on, under the names of the message's fields."""

    def digest(self) -> bytes:
        """Return the SHA-256 of everything that decides about the vector."""
        total = hashlib.sha256()
        shape = ",".join(f"{key}={value}" for key, value in sorted(self.shape.items()))
        # What an asset is read as may depend on what the caller says it is.
        said = self.media_type if self.kind is ContentKind.ASSET else ""
        for part in (self.kind.encode(), (shape or said).encode(), self.data):
            total.update(len(part).to_bytes(8, "big") + part)
        return total.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """What binding a collection to an encoder needs to know about it."""

    name: str
    """`encoders/x@v`, always with its version."""
    fingerprint: str
    dimensions: int
    kind: VectorKind
    metric: Metric
    space: str
    ready: bool
    source_kind: ContentKind | None
    """What a string of an entity is to it; None where it encodes no strings."""
    takes: frozenset[ContentKind] = frozenset()
    """Kinds of content that it encodes; assets may be of any kind."""


class EncoderPort(Protocol):
    """The encoder service."""

    async def describe(self, encoder: str) -> EncoderFacts:
        """Return an encoder's facts; raises `NotFoundError` or `BackendUnavailableError`."""
        ...

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        """Return one vector, or why there is none, for each content, in their order.

        Raises `EncoderMismatchError` when the encoder has another fingerprint, and
        `BackendUnavailableError` when it is away.
        """
        ...

    async def rerank(
        self, encoder: str, query: str, documents: Sequence[str]
    ) -> list[float | LookalikeError]:
        """Return how well each text fits the query, or why it has no score, in their order.

        Higher is closer, by the encoder's own measure. Raises what is wrong with the query at
        `query`, with the encoder at `encoder`, with the number of texts at `documents`.
        """
        ...

    async def match_structure(
        self, encoder: str, smiles: str, relation: Relation, candidates: Sequence[str]
    ) -> list[bool | LookalikeError]:
        """Tell which candidates, at least one, relate to a molecule as asked, or why one cannot.

        Candidates have `MAX_SMILES` characters at most. Raises what is wrong with the molecule at
        `smiles`, with the encoder at `encoder`.
        """
        ...
