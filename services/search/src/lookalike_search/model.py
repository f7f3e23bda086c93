"""What search stores and finds, in words that know neither protobuf nor Milvus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What an attribute may be. Integers are exact up to 64 bits."""

Dense: TypeAlias = NDArray[np.float32]
"""A dense vector: float32 [dimensions]."""


@dataclass(frozen=True, slots=True)
class Bits:
    """A binary vector. `size` and `nbytes` mean what they mean for a dense one."""

    data: bytes
    """Eight dimensions a byte, lowest bit first; bits beyond `size` are zero."""
    size: int
    """Dimensions."""

    @property
    def nbytes(self) -> int:
        """Bytes of the components."""
        return len(self.data)

    @property
    def count(self) -> int:
        """Bits that are set."""
        return int.from_bytes(self.data).bit_count()


Vector: TypeAlias = Dense | Bits
"""One vector of either kind; tell them apart with `isinstance(vector, Bits)`."""

DEFAULT_VECTOR_FIELD: Final = "vector"
DEFAULT_ANALYZER: Final = "standard"

LAYOUT: Final = 2
"""Of collections that are created now; 1 had no times of writes, which `ttl` needs."""

RESERVED_ATTRIBUTES: Final = frozenset(
    {"item", "asset", "text", "source_uri", "create_time", "update_time"}
)
"""An entity's own fields, which filters can name; no attribute may be called so."""


class VectorKind(StrEnum):
    """How the components of a vector are represented."""

    DENSE = "dense"
    BINARY = "binary"
    SPARSE = "sparse"


class Metric(StrEnum):
    """How two vectors are compared; `scoring` says what score and distance mean."""

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    EUCLIDEAN = "euclidean"
    TANIMOTO = "tanimoto"
    HAMMING = "hamming"
    BM25 = "bm25"


class IndexType(StrEnum):
    """How a vector field is indexed; `AUTO` leaves it to the backend."""

    AUTO = "auto"
    FLAT = "flat"
    HNSW = "hnsw"
    IVF_FLAT = "ivf_flat"
    IVF_SQ8 = "ivf_sq8"
    IVF_PQ = "ivf_pq"
    SCANN = "scann"
    DISKANN = "diskann"


class AttributeType(StrEnum):
    """Types of declared attributes."""

    STRING = "string"
    INT = "int"
    """64 bits, signed."""
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    """Kept as RFC 3339 in UTC with six decimals, so that text order is time order."""
    STRING_LIST = "string_list"
    JSON = "json"


class Outcome(StrEnum):
    """What happened to one entity that was to be written."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


class Consistency(StrEnum):
    """How fresh a read must be."""

    STRONG = "strong"
    BOUNDED = "bounded"
    EVENTUAL = "eventual"


class Task(StrEnum):
    """What a vector is for; some encoders prepare questions and documents differently."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """How a vector field is indexed."""

    type: IndexType = IndexType.AUTO
    params: Mapping[str, float] = field(default_factory=dict)
    """Settings under Milvus's names, such as `M` and `efConstruction`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFieldSpec:
    """One vector that each entity of a collection has."""

    name: str
    dimensions: int
    metric: Metric
    kind: VectorKind = VectorKind.DENSE
    encoder: str = ""
    """`encoders/x@v`; empty where callers bring the vectors."""
    fingerprint: str = ""
    """The encoder's, at the time of binding."""
    space: str = ""
    index: IndexSpec = field(default_factory=IndexSpec)
    source_attribute: str = ""
    """What `encoder` encodes: a declared attribute, or `text`; empty for the entity's content."""
    source_kind: str = "text"
    """As what it is encoded: a `ContentKind`, by the encoder's modality."""
    optional: bool = False
    """Entities may lack it."""
    takes: tuple[str, ...] = ()
    """Of an optional field: kinds of content (`ContentKind`) that its encoder takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeSpec:
    """One declared attribute."""

    name: str
    type: AttributeType
    filterable: bool = False
    """Kept in a typed column of its own, so that filters are fast."""
    nullable: bool = False
    """It may be missing."""
    full_text: bool = False
    """Its words are indexed for keyword queries; strings only."""
    analyzer: str = ""
    """How its words are told apart; empty where they are not indexed."""

    added: bool = False
    """Declared after the creation, when no column could be added any more."""

    @property
    def has_column(self) -> bool:
        """Whether it is kept in a column of its own, where its type allows that."""
        return (self.filterable or self.full_text) and not self.added


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordIndex:
    """The words of one text of each entity, indexed for keyword queries."""

    attribute: str = ""
    """A full-text attribute; empty for the entities' text."""
    analyzer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """The facts of a collection that never change; stored in one piece with its creation."""

    id: str
    uid: str
    """Random; tells two collections of the same id apart."""
    create_time: datetime
    vector_fields: tuple[VectorFieldSpec, ...]
    attributes: tuple[AttributeSpec, ...] = ()
    partition_key: str = ""
    """An attribute by whose values entities are kept apart; empty for none."""
    layout: int = LAYOUT
    """Which columns it has besides those that follow from the other facts."""
    text_analyzer: str = ""
    """How the words of entities' text are told apart; empty where they are not indexed."""

    @property
    def keyword_indexes(self) -> tuple[KeywordIndex, ...]:
        """What keyword queries can look in."""
        text = [KeywordIndex(analyzer=self.text_analyzer)] if self.text_analyzer else []
        return (
            *text,
            *(
                KeywordIndex(attribute=each.name, analyzer=each.analyzer)
                for each in self.attributes
                if each.full_text
            ),
        )

    def keyword_index(self, attribute: str) -> KeywordIndex | None:
        """Return the index of an attribute's words, or of the text's for ""; None without."""
        return next((each for each in self.keyword_indexes if each.attribute == attribute), None)

    def with_added(self, attributes: Sequence[AttributeSpec]) -> CollectionSpec:
        """Return the facts with these attributes for those that were added before."""
        created = [each for each in self.attributes if not each.added]
        declared = {each.name for each in created}
        added = [each for each in attributes if each.name not in declared]
        return replace(self, attributes=(*created, *added))

    def vector_field(self, name: str) -> VectorFieldSpec | None:
        """Return the vector field of that name, or None."""
        return next((each for each in self.vector_fields if each.name == name), None)

    def attribute(self, name: str) -> AttributeSpec | None:
        """Return the declared attribute of that name, or None."""
        return next((each for each in self.attributes if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A collection is being copied into another schema: until it ends, it has two sides."""

    target_id: str
    """The other side's name, at which it can be filled, searched and compared."""
    source: str
    """`storage` of the side with which it began."""
    target: str
    """`storage` of the side that is to take over."""
    start_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """The facts of a collection that may change; every change is a new revision."""

    revision: int
    """0 as created, then rising by one."""
    update_time: datetime
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[AttributeSpec, ...] = ()
    """Those that were added since the creation."""
    ttl: timedelta | None = None
    """How long entities live after their last write; None for ever."""
    migration: Migration | None = None
    """Set while one is under way."""
    released: bool = False
    """It is to be kept out of memory, and cannot be searched, read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCollection:
    """A published collection, resolved to what the store calls it."""

    spec: CollectionSpec
    """The facts of its creation, and the attributes that were added since."""
    settings: CollectionSettings
    storage: str
    """The store's own name for this incarnation; every data call takes it, never the id."""
    other: StoredCollection | None = None
    """The other side while a migration is under way; what is written here goes there too."""
    is_shadow: bool = False
    """It is the side that does not answer to the id; `other` is the one that does, and rules."""

    @property
    def id(self) -> str:
        """What callers call it."""
        migration = self.settings.migration
        return migration.target_id if self.is_shadow and migration is not None else self.spec.id

    @property
    def is_flipped(self) -> bool:
        """Whether the side that was to take over has done so."""
        migration = self.settings.migration
        return migration is not None and (migration.target == self.storage) != self.is_shadow

    @property
    def etag(self) -> str:
        """Changes with the settings, with the collection, and with the side that answers."""
        side = "-flipped" if self.is_flipped else ""
        return f"{self.spec.uid}-{self.settings.revision}{side}"


class CollectionState(StrEnum):
    """Whether a collection can be searched."""

    LOADING = "loading"
    READY = "ready"
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """How a collection is now."""

    state: CollectionState = CollectionState.READY
    entity_count: int = 0
    """0 where they cannot be counted, because it is not in memory."""
    memory_bytes: int = 0
    """What its vectors take while loaded, estimated by their indexes."""
    indexed: Mapping[str, float] = field(default_factory=dict)
    """Which share of the vectors is indexed, by vector field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another name for a collection."""

    id: str
    collection_id: str
    previous_collection_id: str
    """What it stood for before; empty if for nothing."""
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRecord:
    """One entity as it is stored; fields that a read left out have their defaults."""

    id: str
    item: str = ""
    asset: str = ""
    """Hex SHA-256 of the original bytes; empty where none are kept."""
    segment: Mapping[str, JsonValue] = field(default_factory=dict)
    """`lookalike.type.v1.Segment` as JSON; search keeps it and never looks inside."""
    text: str = ""
    attributes: Mapping[str, JsonValue] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    content_hash: str = ""
    generation: int = 0
    create_generation: int = 0
    """The generation of the first write."""
    confirmed: bool = False
    """Its generation was taken over without a change; see `writing`."""
    source_uri: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None
    write_time: datetime | None = None
    """When it was last written, changed by that or not; `ttl` counts from here. It is read only
    where there is a ttl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Which parts of an entity a read returns; id and what costs nothing always come."""

    text: bool = True
    attributes: bool = True
    vectors: frozenset[str] = frozenset()
    """Names of vector fields."""
    system: bool = True
    """Asset, segment, generations, source and times."""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One entity that a vector search found."""

    record: EntityRecord
    score: float
    """Higher is closer, by the field's metric; see `scoring`."""
    distance: float | None
    """Lower is closer, by the field's metric; None where words were looked up."""
