"""What a check works with: the service's commands, and collections that are gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict, Unpack

import numpy as np

from lookalike_common.errors import BackendUnavailableError, LookalikeError, NotFoundError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.aliases import Aliases
from lookalike_search.commands.collection_changes import CollectionChanges
from lookalike_search.commands.collections import (
    CollectionDraft,
    Collections,
    VectorFieldDraft,
)
from lookalike_search.commands.entities import Entities
from lookalike_search.commands.examples import Examples
from lookalike_search.commands.searching import Searching
from lookalike_search.commands.structures import Structures
from lookalike_search.commands.upserts import Upserts
from lookalike_search.commands.windows import Windows
from lookalike_search.encoding import Content, EncoderFacts, Relation
from lookalike_search.fusion import Fusion
from lookalike_search.grouping import GroupBy
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Consistency,
    Dense,
    EntityRecord,
    IndexSpec,
    IndexType,
    JsonValue,
    Metric,
    StoredCollection,
    Task,
    Vector,
    VectorKind,
)
from lookalike_search.queries import Query, SearchOrder, SearchResult
from lookalike_search.store import VectorStore
from lookalike_search.writing import EntityDraft, WriteReport

TENANT: Final = ""
"""Its database is always there, and needs no right to create one."""
DIMENSIONS: Final = 8
_EVERYTHING: Final = ("item", "text", "attributes", "vectors")
ATTRIBUTES: Final = (
    AttributeSpec(name="color", type=AttributeType.STRING, filterable=True, nullable=True),
    AttributeSpec(name="price", type=AttributeType.INT, filterable=True, nullable=True),
    AttributeSpec(name="weight", type=AttributeType.DOUBLE, filterable=True, nullable=True),
    AttributeSpec(name="sold", type=AttributeType.BOOL, filterable=True, nullable=True),
    AttributeSpec(name="tags", type=AttributeType.STRING_LIST, nullable=True),
)


class OrderFacts(TypedDict, total=False):
    """Fields of a `SearchOrder` that checks give."""

    filter_text: str
    top_k: int
    offset: int
    group_by: GroupBy
    fusion: Fusion
    consistency: Consistency
    consistency_token: str
    params: Mapping[str, float]


class EntityFacts(TypedDict, total=False):
    """Fields of an `EntityDraft` that checks give."""

    text: str
    content_hash: str
    attributes: Mapping[str, JsonValue]
    vectors: Mapping[str, Vector]


class WrongAnswerError(Exception):
    """The backend answered, and not what it should."""


class Trial:
    """One check's hold on the service. Callers bring all vectors; there is no encoder."""

    def __init__(self, store: VectorStore) -> None:
        catalog, encoder = Catalog(store), NoEncoder()
        self.store = store
        self.collections = Collections(store, encoder, catalog)
        self.aliases = Aliases(store, catalog)
        self.changes = CollectionChanges(store, catalog)
        self.entities = Entities(store, catalog)
        self._upserts = Upserts(store, encoder, catalog)
        examples = Examples(store, encoder, catalog)
        windows = Windows(store, Structures(store, encoder, max_scanned=1))
        self._searching = Searching(store, encoder, examples, windows, catalog)
        self._created: list[str] = []

    def fresh_id(self) -> str:
        """Return an id that no collection has; what is created under it is dropped in the end."""
        name = f"contract-{secrets.token_hex(6)}"
        self._created.append(name)
        return name

    async def create(
        self,
        *fields: VectorFieldDraft,
        collection_id: str = "",
        attributes: tuple[AttributeSpec, ...] = (),
        text_analyzer: str = "",
        partition_key: str = "",
    ) -> StoredCollection:
        """Create a collection; by default with one field of `DIMENSIONS`."""
        draft = CollectionDraft(
            id=collection_id or self.fresh_id(),
            vector_fields=fields or (vectors(),),
            attributes=attributes,
            labels={"made-by": "contract"},
            text_analyzer=text_analyzer,
            partition_key=partition_key,
        )
        return (await self.collections.create(TENANT, draft)).collection

    async def new(
        self,
        *fields: VectorFieldDraft,
        attributes: tuple[AttributeSpec, ...] = (),
        text_analyzer: str = "",
    ) -> str:
        """Create a collection and return its id."""
        created = await self.create(*fields, attributes=attributes, text_analyzer=text_analyzer)
        return created.spec.id

    async def write(self, collection_id: str, *drafts: EntityDraft) -> WriteReport:
        """Write entities; raises the first one's error, if there is any."""
        report = await self._upserts.upsert(TENANT, collection_id, drafts)
        for each in report.results:
            if isinstance(each, LookalikeError):
                raise each
        return report

    async def search(
        self, collection_id: str, *queries: Query, **facts: Unpack[OrderFacts]
    ) -> list[str]:
        """Return the ids of the hits, best first."""
        result = await self.ask(collection_id, *queries, **facts)
        return [each.record.id for each in result.hits]

    async def ask(
        self, collection_id: str, *queries: Query, **facts: Unpack[OrderFacts]
    ) -> SearchResult:
        """Search, with strong consistency where nothing else is said."""
        facts.setdefault("consistency", Consistency.STRONG)
        order = SearchOrder(collection_id=collection_id, queries=queries, **facts)
        return await self._searching.search(TENANT, order)

    async def get(self, collection_id: str, entity_id: str) -> EntityRecord:
        """Return an entity with its vectors; raises `NotFoundError`."""
        [found] = await self.entities.get(TENANT, collection_id, [entity_id], _EVERYTHING)
        if isinstance(found, LookalikeError):
            raise found
        return found

    async def count(self, collection_id: str, filter_text: str = "") -> int:
        """Return how many entities match."""
        return await self.entities.count(TENANT, collection_id, filter_text)

    async def listed(self, collection_id: str, page_size: int, filter_text: str = "") -> list[str]:
        """Return the ids of all entities, read in pages."""
        ids: list[str] = []
        token = ""
        while True:
            page, token = await self.entities.list(
                TENANT,
                collection_id,
                filter_text=filter_text,
                page_size=page_size,
                page_token=token,
                output_fields=["item"],
            )
            ids += [each.id for each in page]
            if not token:
                return ids

    async def drop_all(self) -> None:
        """Drop what was created."""
        for each in reversed(self._created):
            try:
                await self.collections.delete(TENANT, each)
            except NotFoundError:
                continue


class NoEncoder:
    """`EncoderPort` of a service that has none."""

    async def describe(self, encoder: str) -> EncoderFacts:
        """See `EncoderPort`."""
        raise BackendUnavailableError(f"there is no encoder here, nor {encoder}")

    async def encode(
        self, encoder: str, _fingerprint: str, _contents: Sequence[Content], _task: Task
    ) -> list[Vector | LookalikeError]:
        """See `EncoderPort`."""
        raise BackendUnavailableError(f"there is no encoder here, nor {encoder}")

    async def rerank(
        self, encoder: str, _query: str, _documents: Sequence[str]
    ) -> list[float | LookalikeError]:
        """See `EncoderPort`."""
        raise BackendUnavailableError(f"there is no encoder here, nor {encoder}")

    async def match_structure(
        self, encoder: str, _smiles: str, _relation: Relation, _candidates: Sequence[str]
    ) -> list[bool | LookalikeError]:
        """See `EncoderPort`."""
        raise BackendUnavailableError(f"there is no encoder here, nor {encoder}")


def vectors(
    metric: Metric = Metric.COSINE,
    *,
    name: str = "",
    index: IndexType = IndexType.AUTO,
    kind: VectorKind = VectorKind.DENSE,
    dimensions: int = DIMENSIONS,
) -> VectorFieldDraft:
    """Return a vector field whose vectors the caller brings."""
    return VectorFieldDraft(
        name=name, dimensions=dimensions, metric=metric, kind=kind, index=IndexSpec(type=index)
    )


def random_vectors(count: int, seed: int, dimensions: int = DIMENSIONS) -> Dense:
    """Return float32 [count, dimensions]."""
    return np.random.default_rng(seed).standard_normal((count, dimensions), np.float32)


def entity(number: int, vector: Vector | None = None, **facts: Unpack[EntityFacts]) -> EntityDraft:
    """Return an entity whose id sorts by its number."""
    own = random_vectors(1, number)[0] if vector is None else vector
    facts.setdefault("vectors", {"vector": own})
    return EntityDraft(id=name_of(number), item=f"item-{number}", **facts)


def priced(number: int, vector: Vector | None = None, **attributes: JsonValue) -> EntityDraft:
    """Return an entity with its number as its price."""
    return entity(number, vector, attributes={"price": number, **attributes})


def name_of(number: int) -> str:
    """Return the id of `entity(number)`."""
    return f"e{number:05d}"


def names_of(numbers: Sequence[int] | range) -> list[str]:
    """Return the ids of entities."""
    return [name_of(each) for each in numbers]


def by(
    vector: Vector,
    *,
    vector_field: str = "",
    min_score: float | None = None,
    max_score: float | None = None,
) -> Query:
    """Return a query by a vector."""
    return Query(source=vector, vector_field=vector_field, min_score=min_score, max_score=max_score)


def ensure(found: object, wanted: object, what: str) -> None:
    """Raise `WrongAnswerError` unless the two are equal."""
    if found != wanted:
        raise WrongAnswerError(f"{what}: {_short(found)} instead of {_short(wanted)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
