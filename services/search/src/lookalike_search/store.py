"""What search needs from a vector database; `tests/contract/test_vector_store.py` is its meaning.

All calls are asynchronous and raise only errors of `lookalike_common.errors`. A tenant's
collections are invisible to every other tenant. Data calls take the `StoredCollection` that was
resolved before and address that very incarnation: after it is deleted they raise `NotFoundError`,
also when a new collection has the id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from lookalike_search.filters import CheckedExpression
from lookalike_search.model import (
    Alias,
    CollectionSettings,
    CollectionSpec,
    CollectionStatus,
    Consistency,
    EntityRecord,
    IndexType,
    Neighbor,
    Projection,
    StoredCollection,
    Vector,
    VectorKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the database at hand can do, found out once when it is first reached."""

    backend: str
    """Its name for people and `GetServerInfo`, such as `milvus-lite`."""
    version: str
    vector_kinds: frozenset[VectorKind]
    index_types: frozenset[IndexType]
    """For dense vectors."""
    bit_index_types: frozenset[IndexType]
    """For binary vectors."""
    max_vector_fields: int
    """Vector fields of a collection, its keyword indexes counted in."""
    analyzers: frozenset[str]
    """Ways to tell words apart for keyword queries; none where it knows no keyword queries."""
    partition_key: bool
    """Whether entities can be kept apart by an attribute."""
    max_window: int
    """Hits that one search may return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How fresh a read must be."""

    consistency: Consistency = Consistency.BOUNDED
    position: int = 0
    """See at least the write that returned this position; 0 for none in particular."""


class VectorStore(Protocol):
    """Collections of entities with vectors."""

    @property
    def capabilities(self) -> Capabilities:
        """What the database can do; raises `BackendUnavailableError` before it was reached."""
        ...

    async def create(
        self, tenant: str, spec: CollectionSpec, settings: CollectionSettings
    ) -> StoredCollection:
        """Create and publish a collection; of two at the same time one gets AlreadyExistsError."""
        ...

    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        """Return the published collection of that id or alias, or raise `NotFoundError`."""
        ...

    async def list_ids(self, tenant: str) -> list[str]:
        """Return the ids of the published collections, sorted."""
        ...

    async def revise(
        self, tenant: str, collection: StoredCollection, settings: CollectionSettings
    ) -> StoredCollection:
        """Store the revision after `collection`'s; raises `EtagMismatchError` if there is one."""
        ...

    async def drop(self, tenant: str, collection: StoredCollection) -> None:
        """Delete this incarnation, both sides, with its entities; nothing if it is gone already.

        Raises `CollectionNotReadyError` while aliases stand for it.
        """
        ...

    async def load(self, tenant: str, collection: StoredCollection) -> None:
        """Bring a collection into memory; returns when it is there."""
        ...

    async def release(self, tenant: str, collection: StoredCollection) -> None:
        """Take a collection out of memory.

        Once `settings.released` says so, all data calls raise `CollectionNotReadyError`; before,
        they bring it back.
        """
        ...

    async def optimize(self, tenant: str, collection: StoredCollection) -> None:
        """Flush, compact and index; returns when that is done, or shortly before the deadline."""
        ...

    async def status(self, tenant: str, collection: StoredCollection) -> CollectionStatus:
        """Return how a collection is now."""
        ...

    async def set_alias(
        self, tenant: str, alias_id: str, collection_id: str, etag: str = ""
    ) -> Alias:
        """Create an alias of a collection, or move it there in one step.

        Raises `NotFoundError` without such a collection, `AlreadyExistsError` where a collection
        has the alias's id, and `EtagMismatchError` where `etag` is given and not the alias's.
        """
        ...

    async def delete_alias(self, tenant: str, alias_id: str, etag: str = "") -> None:
        """Delete an alias; raises `NotFoundError` or `EtagMismatchError`."""
        ...

    async def list_aliases(self, tenant: str) -> list[Alias]:
        """Return the aliases by id."""
        ...

    async def start_migration(
        self, tenant: str, collection: StoredCollection, spec: CollectionSpec, target_id: str
    ) -> StoredCollection:
        """Give a collection an empty other side with this spec, which `target_id` resolves to.

        Raises `AlreadyExistsError` where that id is taken, and `EtagMismatchError` where the
        collection changed meanwhile. Other processes may write to one side for as long as they
        remember what they resolved before.
        """
        ...

    async def turn_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """Let the other side answer to the id from now on, in one step; hold `exclusive`."""
        ...

    async def end_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """Drop the other side and its name; nothing happens where there is no migration."""
        ...

    def exclusive(
        self, tenant: str, collection: StoredCollection
    ) -> AbstractAsyncContextManager[None]:
        """Hold off every other writer of this process, for a read, a decision and a write.

        While a collection migrates, the writers of both sides are held off.
        """
        ...

    async def upsert(
        self,
        tenant: str,
        collection: StoredCollection,
        records: Sequence[EntityRecord],
        *,
        mirrored: Sequence[EntityRecord] = (),
    ) -> int:
        """Write whole entities with all their vectors, ids unique; return the write's position.

        While a collection migrates, its other side first gets `mirrored`, and loses those of
        `records` that are not among them: there an entity is as here, or missing, never stale.
        """
        ...

    async def get(
        self,
        tenant: str,
        collection: StoredCollection,
        ids: Sequence[str],
        *,
        projection: Projection,
        freshness: Freshness,
    ) -> dict[str, EntityRecord]:
        """Return the entities that exist, by id."""
        ...

    async def scan(
        self,
        tenant: str,
        collection: StoredCollection,
        *,
        limit: int,
        after: str = "",
        where: CheckedExpression | None = None,
        items: Sequence[str] = (),
        projection: Projection,
        freshness: Freshness,
    ) -> list[EntityRecord]:
        """Return the next `limit` entities by id after `after` that match `where` and `items`."""
        ...

    async def count(
        self, tenant: str, collection: StoredCollection, where: CheckedExpression | None = None
    ) -> int:
        """Return how many entities there are, or match."""
        ...

    async def delete(self, tenant: str, collection: StoredCollection, ids: Sequence[str]) -> int:
        """Delete entities by id, missing ones or not; return the write's position.

        While a collection migrates, they are deleted from its other side too.
        """
        ...

    async def expire(self, tenant: str, collection: StoredCollection) -> int:
        """Remove what has outlived the collection's ttl; return how much there was.

        All other calls leave that out already.
        """
        ...

    async def search(
        self,
        tenant: str,
        collection: StoredCollection,
        vector_field: str,
        vector: Vector,
        *,
        limit: int,
        where: CheckedExpression | None = None,
        projection: Projection,
        freshness: Freshness,
        params: Mapping[str, float],
    ) -> list[Neighbor]:
        """Return the `limit` nearest entities, by falling score and then by id."""
        ...

    async def keyword_search(
        self,
        tenant: str,
        collection: StoredCollection,
        attribute: str,
        words: str,
        *,
        limit: int,
        where: CheckedExpression | None = None,
        projection: Projection,
        freshness: Freshness,
    ) -> list[Neighbor]:
        """Return the `limit` best matches of any of the words, by falling score and then by id.

        They are looked up in a full-text attribute, or with "" in the entities' text. Scores are
        BM25's, more than 0.
        """
        ...
