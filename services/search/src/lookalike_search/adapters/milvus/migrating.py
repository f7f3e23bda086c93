"""Starts, turns and ends migrations: the other side is built, named, made to answer, dropped.

Each step is one change in Milvus, and the next step finds out anew what the last one left:

| step | after a kill right behind it |
|---|---|
| build the other side | nobody knows of it; `tidy` drops it |
| store settings that name both sides | the migration is under way, its target without a name |
| name the target | the migration is under way |
| alter `ll_<id>` | the other side answers; altering it again goes back |
| drop the target's name | the migration is under way, its target without a name |
| store settings without a migration | it is over; `tidy` drops the other side |
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from lookalike_common.errors import AlreadyExistsError, ConcurrentChangeError, EtagMismatchError
from lookalike_search.adapters.milvus.aliases import Aliases
from lookalike_search.adapters.milvus.capabilities import Dialect
from lookalike_search.adapters.milvus.metadata import Metadata
from lookalike_search.adapters.milvus.names import alias_name
from lookalike_search.adapters.milvus.publishing import Publishing
from lookalike_search.catalog import COLLECTION
from lookalike_search.model import CollectionSpec, Migration, StoredCollection


class Migrating:
    """The steps of migrations."""

    def __init__(self, metadata: Metadata, publishing: Publishing, aliases: Aliases) -> None:
        self._metadata = metadata
        self._publishing = publishing
        self._aliases = aliases

    async def start(
        self,
        tenant: str,
        collection: StoredCollection,
        spec: CollectionSpec,
        target_id: str,
        dialect: Dialect,
    ) -> StoredCollection:
        """Give a collection an empty other side; see `VectorStore.start_migration`."""
        if await self._metadata.describe(tenant, alias_name(target_id)) is not None:
            raise _taken(target_id)
        storage = await self._publishing.build(tenant, spec, collection.settings, dialect)
        now = datetime.now(UTC)
        migration = Migration(
            target_id=target_id, source=collection.storage, target=storage, start_time=now
        )
        try:
            started = await self._revise(tenant, collection, migration)
        except EtagMismatchError:
            await self._publishing.abandon(tenant, storage)
            raise
        async with self._metadata.naming:
            named = await self._metadata.create_alias(tenant, alias_name(target_id), storage)
        if not named:
            await self.end(tenant, started)
            raise _taken(target_id)
        return await self._publishing.resolve(tenant, spec.id)

    async def turn(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """Let the other side answer; see `VectorStore.turn_migration`."""
        if collection.other is None:
            raise ConcurrentChangeError("the migration has ended meanwhile", field="name")
        async with self._metadata.naming:
            alias = alias_name(collection.spec.id)
            answer = await self._metadata.describe(tenant, alias)
            if answer is None or answer.collection_name != collection.storage:
                raise ConcurrentChangeError("the collection was replaced meanwhile", field="name")
            await self._metadata.alter_alias(tenant, alias, collection.other.storage)
        return await self._publishing.resolve(tenant, collection.spec.id)

    async def end(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """Drop the other side; see `VectorStore.end_migration`."""
        migration = collection.settings.migration
        if migration is None:
            return collection
        async with self._metadata.naming:
            await self._publishing.unname_target(tenant, collection)
        ended = await self._revise(tenant, collection, None)
        await self._aliases.follow(tenant, collection.spec.id)
        answer = await self._metadata.describe(tenant, alias_name(collection.spec.id))
        if answer is not None:  # whichever answers by now stays
            for storage in {migration.source, migration.target} - {answer.collection_name}:
                await self._metadata.drop(tenant, storage)
        return ended

    async def _revise(
        self, tenant: str, collection: StoredCollection, migration: Migration | None
    ) -> StoredCollection:
        settings = replace(
            collection.settings,
            revision=collection.settings.revision + 1,
            update_time=datetime.now(UTC),
            migration=migration,
        )
        return await self._publishing.revise(tenant, collection, settings)


def _taken(target_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "there is a collection or an alias of this id",
        field="target_id",
        resource_type=COLLECTION,
        resource_name=f"collections/{target_id}",
    )
