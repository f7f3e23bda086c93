"""What the pipeline needs of the search service: collections to read, entities to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lookalike_common.errors import LookalikeError
from lookalike_ingest.encoding import PackedVector
from lookalike_ingest.job import Attributes, Outcome
from lookalike_ingest.segments import Segment


class AttributeType(StrEnum):
    """Types of declared attributes."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    STRING_LIST = "string_list"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class VectorField:
    """One vector field that an encoder fills."""

    name: str
    encoder: str
    fingerprint: str
    dimensions: int = 0
    binary: bool = False
    """Whether a component is one bit."""
    space: str = ""
    """Which vectors can be compared with it."""


@dataclass(frozen=True, slots=True)
class GivenField:
    """One vector field that callers fill."""

    name: str
    dimensions: int
    binary: bool = False
    """Whether a component is one bit."""
    space: str = ""
    """Which vectors can be compared with it."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection under the name that the job used."""

    name: str
    fields: Sequence[VectorField]
    given: Sequence[GivenField] = ()
    attributes: Mapping[str, AttributeType] = field(default_factory=dict)
    """Declared ones."""
    count: int = field(default=0, compare=False)
    """Entities in it, as far as they can be counted."""
    backend: str = ""
    """What stores it, such as `milvus-lite`."""


@dataclass(frozen=True, slots=True)
class StoredEntity:
    """What is known of an entity that is there already."""

    content_hash: str
    generation: int


@dataclass(frozen=True, slots=True)
class EntityWrite:
    """One entity to write."""

    id: str
    item: str
    index: int
    """Its place among the parts of its item; 0 is written last."""
    content_hash: str
    """Empty: the search service makes one, which is no item's."""
    generation: int
    vectors: Mapping[str, PackedVector]
    asset: str = ""
    """`assets/{asset}`, or empty."""
    text: str = ""
    attributes: Attributes = field(default_factory=dict)
    source_uri: str = ""
    segment: Segment | None = None
    """Which part of the item; None: the whole."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove what older generations left of an item."""

    item: str
    before_generation: int
    keep: Sequence[str]
    """Entity ids to leave alone."""


@dataclass(frozen=True, slots=True)
class ListedEntity:
    """One entity as a listing has it."""

    id: str
    item: str
    index: int
    """Its place among the parts of its item, from 0."""
    whole: bool
    """Whether it is no stretch of its item."""
    asset: str
    """`assets/{asset}`, or empty."""
    text: str
    attributes: Attributes
    source_uri: str
    vectors: Mapping[str, bytes]
    """Little-endian float32, by vector field."""


class EntityStore(Protocol):
    """Collections and their entities. Errors are those of `lookalike_common.errors`."""

    async def get_collection(self, name: str) -> Collection:
        """Return a collection. Raises NotFoundError."""

    async def find_stored(self, collection: str, ids: Sequence[str]) -> Mapping[str, StoredEntity]:
        """Return those of the entities that exist, by id."""

    async def upsert(
        self, collection: str, entities: Sequence[EntityWrite], fingerprints: Mapping[str, str]
    ) -> Sequence[Outcome | LookalikeError]:
        """Write entities; return what became of each, in order.

        `fingerprints` are of the encoders that made the vectors, by field. Raises
        EncoderMismatchError, having written nothing, where the collection is bound to others.
        """

    async def sweep(self, collection: str, sweeps: Sequence[Sweep]) -> int:
        """Remove stale entities; return how many there were."""

    async def list_page(
        self, collection: str, filter_text: str, token: str, vectors: Sequence[str]
    ) -> tuple[Sequence[ListedEntity], str]:
        """Return entities, with their vectors of some fields, and the token of the next page.

        Raises InvalidFilterError.
        """

    async def optimize(self, collection: str) -> None:
        """Put a collection's storage in order, as after many writes."""
