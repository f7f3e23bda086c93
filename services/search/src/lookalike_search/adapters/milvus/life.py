"""The calls of `VectorStore` about collections as a whole: `MilvusStore` without its data calls."""

from __future__ import annotations

from lookalike_search.adapters.milvus.aliases import Aliases
from lookalike_search.adapters.milvus.capabilities import Dialect
from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.failures import translated, unavailable
from lookalike_search.adapters.milvus.metadata import Metadata
from lookalike_search.adapters.milvus.migrating import Migrating
from lookalike_search.adapters.milvus.publishing import Publishing
from lookalike_search.adapters.milvus.residency import Residency
from lookalike_search.model import Alias, CollectionSettings, CollectionSpec, StoredCollection
from lookalike_search.store import Capabilities


class CollectionLife:
    """Creates, finds, changes, loads and drops collections, their aliases and migrations."""

    def __init__(self, connection: MilvusConnection) -> None:
        self._connection = connection
        self._metadata = Metadata(connection)
        self._aliases = Aliases(self._metadata)
        self._residency = Residency(connection, self._metadata)
        self._publishing = Publishing(connection, self._metadata, self._aliases, self._residency)
        self._migrating = Migrating(self._metadata, self._publishing, self._aliases)
        self._dialect: Dialect | None = None

    @property
    def backend(self) -> str:
        """What kind of Milvus it is; empty until it was reached."""
        return self._dialect.capabilities.backend if self._dialect is not None else ""

    @property
    def capabilities(self) -> Capabilities:
        """See `VectorStore`."""
        return self._known_dialect().capabilities

    @translated
    async def create(
        self, tenant: str, spec: CollectionSpec, settings: CollectionSettings
    ) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.create(tenant, spec, settings, self._known_dialect())

    @translated
    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.resolve(tenant, collection_id)

    @translated
    async def list_ids(self, tenant: str) -> list[str]:
        """See `VectorStore`."""
        return await self._publishing.list_ids(tenant)

    @translated
    async def revise(
        self, tenant: str, collection: StoredCollection, settings: CollectionSettings
    ) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.revise(tenant, collection, settings)

    @translated
    async def drop(self, tenant: str, collection: StoredCollection) -> None:
        """See `VectorStore`."""
        await self._publishing.drop(tenant, collection)

    @translated
    async def set_alias(
        self, tenant: str, alias_id: str, collection_id: str, etag: str = ""
    ) -> Alias:
        """See `VectorStore`."""
        return await self._aliases.set(tenant, alias_id, collection_id, etag)

    @translated
    async def delete_alias(self, tenant: str, alias_id: str, etag: str = "") -> None:
        """See `VectorStore`."""
        await self._aliases.delete(tenant, alias_id, etag)

    @translated
    async def list_aliases(self, tenant: str) -> list[Alias]:
        """See `VectorStore`."""
        return await self._aliases.list(tenant)

    @translated
    async def load(self, tenant: str, collection: StoredCollection) -> None:
        """See `VectorStore`."""
        for each in sides_of(collection):
            await self._residency.load(tenant, each.storage)

    @translated
    async def start_migration(
        self, tenant: str, collection: StoredCollection, spec: CollectionSpec, target_id: str
    ) -> StoredCollection:
        """See `VectorStore`."""
        dialect = self._known_dialect()
        return await self._migrating.start(tenant, collection, spec, target_id, dialect)

    @translated
    async def turn_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """See `VectorStore`."""
        return await self._migrating.turn(tenant, collection)

    @translated
    async def end_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """See `VectorStore`."""
        return await self._migrating.end(tenant, collection)

    def _known_dialect(self) -> Dialect:
        if self._dialect is None:
            raise unavailable()
        return self._dialect


def sides_of(collection: StoredCollection) -> list[StoredCollection]:
    """Return what a collection is written to, in an order of its own."""
    sides = {each.storage: each for each in (collection, collection.other) if each is not None}
    return [sides[storage] for storage in sorted(sides)]
