"""The life of collections in Milvus: built under a number, published by an alias, repaired.

Creating: physical collection → indexes → load → alias, last. The alias is the claim: of two
creators one gets it, the other drops its own work. Without the alias a collection does not exist
for callers, so a creation that was cut short leaves only something to tidy up.

Deleting goes the other way round. A drop by alias would destroy whatever the alias points at, so a
name is dropped only after Milvus confirmed that it is the name of the collection itself.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pymilvus.grpc_gen import milvus_pb2

from lookalike_common.errors import (
    AlreadyExistsError,
    BackendUnavailableError,
    CollectionNotReadyError,
    EtagMismatchError,
    LookalikeError,
    NotFoundError,
)
from lookalike_search.adapters.milvus.aliases import Aliases
from lookalike_search.adapters.milvus.capabilities import Dialect
from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.facts import (
    FACTS_KEY,
    SETTINGS_KEY,
    decode_facts,
    decode_settings,
    encode_facts,
    encode_settings,
)
from lookalike_search.adapters.milvus.failures import MilvusFailure, gone, not_loaded
from lookalike_search.adapters.milvus.metadata import (
    ATTEMPTS,
    Description,
    Metadata,
    owner_of,
    property_of,
)
from lookalike_search.adapters.milvus.names import (
    DEFAULT_DATABASE,
    alias_name,
    parse_physical,
    parse_revision,
    physical_name,
    revision_name,
)
from lookalike_search.adapters.milvus.residency import Residency
from lookalike_search.adapters.milvus.schema import (
    column_indexes,
    entity_schema,
    key_values,
    revision_schema,
)
from lookalike_search.adapters.milvus.sides import shadow_of, with_other_side
from lookalike_search.adapters.milvus.vector_columns import VectorColumn, columns_of
from lookalike_search.adapters.milvus.word_columns import WordColumn, word_columns_of
from lookalike_search.catalog import COLLECTION
from lookalike_search.concurrency import together
from lookalike_search.model import CollectionSettings, CollectionSpec, StoredCollection

_logger = logging.getLogger(__name__)

ABANDONED: Final = timedelta(minutes=10)
"""Age at which a collection without an alias is taken for a creation that was cut short."""


class Publishing:
    """Creates, finds, changes and drops collections."""

    def __init__(
        self,
        connection: MilvusConnection,
        metadata: Metadata,
        aliases: Aliases,
        residency: Residency,
    ) -> None:
        self._connection = connection
        self._metadata = metadata
        self._aliases = aliases
        self._residency = residency

    async def create(
        self,
        tenant: str,
        spec: CollectionSpec,
        settings: CollectionSettings,
        dialect: Dialect,
    ) -> StoredCollection:
        """Build and publish; see `VectorStore.create`."""
        await self._ensure_database(tenant)
        alias = alias_name(spec.id)
        if await self._metadata.describe(tenant, alias) is not None:
            raise _taken(spec.id)
        storage = await self.build(tenant, spec, settings, dialect)
        try:
            await self._claim(tenant, spec.id, storage)
        except (LookalikeError, MilvusFailure):
            await self.abandon(tenant, storage)
            raise
        return StoredCollection(spec=spec, settings=settings, storage=storage)

    async def build(
        self,
        tenant: str,
        spec: CollectionSpec,
        settings: CollectionSettings,
        dialect: Dialect,
    ) -> str:
        """Build a physical collection with its indexes, loaded but unpublished."""
        columns = columns_of(spec, native_bits=dialect.native_bits)
        words = word_columns_of(spec, native=dialect.native_words)
        storage = await self._create(tenant, spec, settings, columns, words)
        try:
            indexes = column_indexes(spec, columns, dialect.automatic_index, words)
            for column, params in indexes.items():
                await self._create_index(tenant, storage, column, params)
            await self._residency.load(tenant, storage)
        except (LookalikeError, MilvusFailure):
            await self.abandon(tenant, storage)
            raise
        return storage

    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        """Return the collection that an id or an alias stands for; see `VectorStore.resolve`."""
        for _ in range(ATTEMPTS):
            answer = await self._published(tenant, collection_id)
            if answer is None:
                break
            spec, settings = _facts_of(answer)
            names = await self._metadata.names(tenant)
            try:
                settings = await self._latest(tenant, spec, names) or settings
            except NotFoundError:
                continue  # replaced by a newer revision while it was read
            found = StoredCollection(
                spec=spec.with_added(settings.attributes),
                settings=settings,
                storage=str(answer.collection_name),
            )
            side = await self._side(tenant, found, collection_id)
            if side is not None:
                return side
        raise NotFoundError(
            "there is no such collection",
            resource_type=COLLECTION,
            resource_name=f"collections/{collection_id}",
        )

    async def _published(self, tenant: str, requested: str) -> Description | None:
        """Return the physical collection behind an id or an alias, or None.

        The facts say whose physical collection it is. Where that is another id than the one asked
        for, it is an alias, and its collection is looked up by its own name: what the alias points
        at may be an incarnation that was replaced.
        """
        answer = await self._metadata.describe(tenant, alias_name(requested))
        if property_of(answer, FACTS_KEY) is None:
            return None
        owner = owner_of(answer)
        if owner is None or owner == requested:
            return answer
        answer = await self._metadata.describe(tenant, alias_name(owner))
        return answer if owner_of(answer) == owner else None

    async def _side(
        self, tenant: str, found: StoredCollection, requested: str
    ) -> StoredCollection | None:
        """Return the side that is asked for: by the migration's name for it the other one."""
        collection = await with_other_side(self._metadata, tenant, found)
        migration = collection.settings.migration
        by_target = migration is not None and migration.target_id == requested
        return shadow_of(collection) if by_target else collection

    async def list_ids(self, tenant: str) -> list[str]:
        """Return the ids of the published collections, sorted."""
        names = [parse_physical(name) for name in await self._metadata.names(tenant)]
        ids = sorted({name.collection_id for name in names if name is not None})
        published = await together(
            [self._metadata.describe(tenant, alias_name(each)) for each in ids]
        )
        return [
            each for each, answer in zip(ids, published, strict=True) if owner_of(answer) == each
        ]

    async def revise(
        self, tenant: str, collection: StoredCollection, settings: CollectionSettings
    ) -> StoredCollection:
        """Store the next revision; see `VectorStore.revise`."""
        spec = collection.spec
        name = revision_name(spec.id, settings.revision)
        properties = {SETTINGS_KEY: encode_settings(spec.uid, settings)}
        for _ in range(ATTEMPTS):
            if await self._metadata.create(tenant, name, revision_schema(name), properties):
                break
            answer = await self._metadata.describe(tenant, name)
            stored = property_of(answer, SETTINGS_KEY)
            if stored is None:
                continue  # dropped in between, or half of an older one
            uid, _settings = decode_settings(stored)
            if stored == properties[SETTINGS_KEY]:
                break
            if uid == spec.uid:
                raise EtagMismatchError("the collection changed meanwhile", field="etag")
            await self._metadata.drop(tenant, name)  # left over from a deleted collection
        else:
            raise BackendUnavailableError("the change could not be stored")
        if await self._is_overtaken(tenant, spec, settings.revision):
            raise EtagMismatchError("the collection changed meanwhile", field="etag")
        await self._drop_revisions(tenant, spec.id, before=settings.revision)
        revised = StoredCollection(
            spec=spec.with_added(settings.attributes), settings=settings, storage=collection.storage
        )
        return await with_other_side(self._metadata, tenant, revised)

    async def drop(self, tenant: str, collection: StoredCollection) -> None:
        """Delete one incarnation, with both of its sides; see `VectorStore.drop`."""
        alias = alias_name(collection.spec.id)
        sides = [each.storage for each in (collection.other, collection) if each is not None]
        async with self._metadata.naming:
            answer = await self._metadata.describe(tenant, alias)
            published = answer is not None and answer.collection_name in sides
            if answer is not None and published:
                await self._check_no_aliases(tenant, collection.spec.id)
                await self.unname_target(tenant, collection)
                await self._metadata.drop_alias(tenant, alias)
                try:
                    await self._check_no_aliases(tenant, collection.spec.id)
                except CollectionNotReadyError:  # another process was faster
                    await self._metadata.create_alias(tenant, alias, str(answer.collection_name))
                    raise
        for each in sides:
            await self._metadata.drop(tenant, each)
        if published:
            await self._drop_revisions(tenant, collection.spec.id)

    async def unname_target(self, tenant: str, collection: StoredCollection) -> None:
        """Drop a migration's name for the other side, unless it is another's; hold `naming`."""
        migration = collection.settings.migration
        if migration is None:
            return
        alias = alias_name(migration.target_id)
        answer = await self._metadata.describe(tenant, alias)
        if answer is not None and answer.collection_name == migration.target:
            await self._metadata.drop_alias(tenant, alias)

    async def _check_no_aliases(self, tenant: str, collection_id: str) -> None:
        """Raise `CollectionNotReadyError` where aliases stand for a collection."""
        listed = await self._aliases.list(tenant)
        names = [f"aliases/{each.id}" for each in listed if each.collection_id == collection_id]
        if names:
            raise CollectionNotReadyError(
                f"{', '.join(names[:5])} stand for it; delete or move them first", field="name"
            )

    async def restore(self, tenant: str, storage: str) -> None:
        """Load a published collection that is not in memory, as after a restart.

        Raises `CollectionNotReadyError` where it was released, and makes sure of that.
        """
        name = parse_physical(storage)
        if name is None:
            raise gone()
        if (await self.resolve(tenant, name.collection_id)).settings.released:
            await self._residency.release(tenant, storage)
            raise not_loaded()
        await self._residency.load(tenant, storage)

    async def tidy(self, tenant: str) -> None:
        """Load what is to be in memory; drop what creations left that were cut short long ago."""
        oldest = (time.time() - ABANDONED.total_seconds()) * 1_000_000
        for storage in await self._metadata.names(tenant):
            name = parse_physical(storage)
            if name is None:
                continue
            if storage in await self._in_use(tenant, name.collection_id):
                with contextlib.suppress(CollectionNotReadyError):
                    await self.restore(tenant, storage)
            elif name.number < oldest:
                _logger.warning("dropping %s: it is not published", storage)
                await self._aliases.follow(tenant, name.collection_id)
                await self._metadata.drop(tenant, storage)

    async def _in_use(self, tenant: str, collection_id: str) -> set[str]:
        """Return the sides of a collection; none if it is not published."""
        try:
            collection = await self.resolve(tenant, collection_id)
        except NotFoundError:
            return set()
        migration = collection.settings.migration
        sides = {migration.source, migration.target} if migration is not None else set()
        return sides | {collection.storage}

    async def _ensure_database(self, tenant: str) -> None:
        name = self._connection.databases.of(tenant)
        if name == DEFAULT_DATABASE:
            return
        names = await self._connection.call("ListDatabases", milvus_pb2.ListDatabasesRequest())
        if name not in names.db_names:
            try:
                await self._connection.call(
                    "CreateDatabase", milvus_pb2.CreateDatabaseRequest(db_name=name)
                )
            except MilvusFailure as failure:
                _logger.info("another creator was faster: %s", failure)

    async def _create(
        self,
        tenant: str,
        spec: CollectionSpec,
        settings: CollectionSettings,
        columns: Sequence[VectorColumn],
        words: Sequence[WordColumn],
    ) -> str:
        """Create a physical collection under a number of its own and return its name."""
        properties = {FACTS_KEY: encode_facts(spec, settings)}
        number = time.time_ns() // 1000
        for attempt in range(ATTEMPTS):
            storage = physical_name(spec.id, number + attempt)
            schema = entity_schema(storage, spec, columns, words)
            if await self._metadata.create(tenant, storage, schema, properties):
                return storage
        raise BackendUnavailableError("the collection could not be stored")

    async def _create_index(
        self, tenant: str, storage: str, column: str, params: Mapping[str, object]
    ) -> None:
        request = milvus_pb2.CreateIndexRequest(
            collection_name=storage, field_name=column, extra_params=key_values(params)
        )
        await self._connection.call("CreateIndex", request, tenant=tenant, to_the_end=True)

    async def _claim(self, tenant: str, collection_id: str, storage: str) -> None:
        """Publish a collection; raises `AlreadyExistsError` if another one has the id."""
        async with self._metadata.naming:
            if not await self._metadata.create_alias(tenant, alias_name(collection_id), storage):
                raise _taken(collection_id)

    async def abandon(self, tenant: str, storage: str) -> None:
        """Drop what was built in vain; if that fails as well, `tidy` will."""
        try:
            await self._metadata.drop(tenant, storage)
        except (LookalikeError, MilvusFailure) as error:
            _logger.warning("%s is left over: %s", storage, error)

    async def _latest(
        self, tenant: str, spec: CollectionSpec, names: Sequence[str]
    ) -> CollectionSettings | None:
        """Return the newest later revision of the settings, or None if there is none."""
        revisions = [(parse_revision(name), name) for name in names]
        own = [
            (parsed.number, name)
            for parsed, name in revisions
            if parsed is not None and parsed.collection_id == spec.id
        ]
        for _, name in sorted(own, reverse=True):
            stored = property_of(await self._metadata.describe(tenant, name), SETTINGS_KEY)
            if stored is None:
                raise gone()
            uid, settings = decode_settings(stored)
            if uid == spec.uid:
                return settings
        return None

    async def _is_overtaken(self, tenant: str, spec: CollectionSpec, revision: int) -> bool:
        """Whether there is a later revision than one just stored, which then counts for nothing.

        That is so where its number was free again, because others had made two changes since.
        """
        newest = await self._latest(tenant, spec, await self._metadata.names(tenant))
        if newest is None or newest.revision <= revision:
            return False
        await self._metadata.drop(tenant, revision_name(spec.id, revision))
        return True

    async def _drop_revisions(
        self, tenant: str, collection_id: str, before: int | None = None
    ) -> None:
        for name in await self._metadata.names(tenant):
            parsed = parse_revision(name)
            own = parsed is not None and parsed.collection_id == collection_id
            if own and (before is None or parsed is None or parsed.number < before):
                await self._metadata.drop(tenant, name)


def _facts_of(answer: Description) -> tuple[CollectionSpec, CollectionSettings]:
    return decode_facts(property_of(answer, FACTS_KEY) or "")


def _taken(collection_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "there is a collection or an alias of this id",
        field="collection_id",
        resource_type=COLLECTION,
        resource_name=f"collections/{collection_id}",
    )
