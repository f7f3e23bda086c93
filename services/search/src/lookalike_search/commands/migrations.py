"""Migrates a collection into another schema, above all to other encoders, while it is in use.

    start: build the target → every process knows → all writes go to both sides
    backfill, by the caller: read the entities, encode them anew, write them to the target
    finish: nothing missing or stale → the target answers → finish again drops the old side

Until the second finish, abort goes back. Whatever is killed in between, the migration stands where
it stood: each call looks at what there is and goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from lookalike_common.errors import (
    CollectionNotReadyError,
    ConcurrentChangeError,
    EncoderMismatchError,
    InvalidArgumentError,
)
from lookalike_search.catalog import Catalog
from lookalike_search.commands.collection_view import CollectionView
from lookalike_search.commands.collections import (
    CollectionDraft,
    Collections,
    VectorFieldDraft,
    check_etag,
)
from lookalike_search.commands.comparing import Comparing, Differences
from lookalike_search.model import CollectionSpec, StoredCollection, VectorFieldSpec
from lookalike_search.store import VectorStore

_SUFFIX: Final = "-next"
_MAX_ID: Final = 63
_ATTEMPTS: Final = 3


class Migrations:
    """The commands that start and end migrations."""

    def __init__(self, store: VectorStore, collections: Collections, catalog: Catalog) -> None:
        self._store = store
        self._collections = collections
        self._catalog = catalog
        self._comparing = Comparing(store, catalog)

    async def start(
        self, tenant: str, collection_id: str, draft: CollectionDraft, target_id: str, etag: str
    ) -> CollectionView:
        """Give a collection a second, empty side, and return once every process writes to both.

        What the draft leaves out is as it is.
        """
        collection = await self._fresh(tenant, collection_id)
        check_etag(collection, etag)
        if collection.settings.migration is not None:
            raise CollectionNotReadyError(
                "a migration is under way: finish or abort it", field="name"
            )
        if collection.settings.released:
            raise CollectionNotReadyError("is released: load it first", field="name")
        spec = await self._specify(draft, collection.spec)
        target_id = target_id or _target_id(collection.spec.id)
        try:
            await self._store.start_migration(tenant, collection, spec, target_id)
        finally:
            self._forget(tenant, collection_id, collection)
        # Whoever resolved before knows it by then, and whoever wrote meanwhile has been answered.
        await asyncio.sleep(2 * self._catalog.max_age.total_seconds())
        return await self._collections.get(tenant, collection_id)

    async def finish(self, tenant: str, collection_id: str, etag: str) -> CollectionView:
        """Let the target answer, or drop the old side once it does."""

        async def finish(collection: StoredCollection) -> None:
            if collection.is_flipped:
                await self._end(tenant, collection)
            else:
                await self._turn(tenant, collection)

        return await self._step(tenant, collection_id, etag, finish)

    async def abort(
        self, tenant: str, collection_id: str, etag: str, *, force: bool
    ) -> CollectionView:
        """Let the side answer with which it began, and drop the target.

        With `force` even if that lacks entities that were written since.
        """

        async def abort(collection: StoredCollection) -> None:
            if collection.is_flipped:
                collection = await self._turn(tenant, collection, force=force)
            await self._end(tenant, collection)

        return await self._step(tenant, collection_id, etag, abort)

    async def _step(
        self,
        tenant: str,
        collection_id: str,
        etag: str,
        step: Callable[[StoredCollection], Awaitable[None]],
    ) -> CollectionView:
        """Take one step; where another caller takes one at the same time, take none after it."""
        first = await self._fresh(tenant, collection_id)
        check_etag(first, etag)
        if first.settings.migration is None:
            raise CollectionNotReadyError("no migration is under way", field="name")

        async def work(collection: StoredCollection) -> None:
            if collection.etag != first.etag:
                raise ConcurrentChangeError("the collection changed meanwhile", field="name")
            await step(collection)

        try:
            await self._catalog.using(tenant, collection_id, work)
        finally:
            self._forget(tenant, collection_id, first)
        return await self._collections.get(tenant, collection_id)

    async def _turn(
        self, tenant: str, collection: StoredCollection, *, force: bool = False
    ) -> StoredCollection:
        """Let the other side answer, if it has all that this one has."""
        if collection.other is None:
            raise CollectionNotReadyError("the other side is gone", field="name")
        for _ in range(_ATTEMPTS):
            if not force:
                _check_complete(await self._comparing.settle(tenant, collection))
            async with self._catalog.exclusively(tenant, collection):
                await self._catalog.confirm(tenant, collection, now=True)
                if force or await self._comparing.counts_agree(tenant, collection):
                    try:
                        return await self._store.turn_migration(tenant, collection)
                    finally:
                        self._forget(tenant, collection.id, collection)
        raise ConcurrentChangeError("entities without new vectors are written; repeat later")

    async def _end(self, tenant: str, collection: StoredCollection) -> None:
        async with self._catalog.exclusively(tenant, collection):
            await self._catalog.confirm(tenant, collection, now=True)
            try:
                await self._store.end_migration(tenant, collection)
            finally:
                self._forget(tenant, collection.id, collection)

    async def _fresh(self, tenant: str, collection_id: str) -> StoredCollection:
        self._catalog.forget(tenant, collection_id)
        collection = await self._catalog.resolve(tenant, collection_id)
        if collection.is_shadow:
            raise InvalidArgumentError(
                f"is the target of a migration of collections/{collection.spec.id}; name that",
                field="name",
            )
        return collection

    def _forget(self, tenant: str, requested: str, collection: StoredCollection) -> None:
        migration = collection.settings.migration
        for each in (requested, collection.spec.id, migration.target_id if migration else ""):
            self._catalog.forget(tenant, each)

    async def _specify(self, draft: CollectionDraft, spec: CollectionSpec) -> CollectionSpec:
        """Return the facts of the target: the draft's, completed by the collection's own."""
        for name in ("description", "labels", "ttl"):
            if getattr(draft, name):
                raise InvalidArgumentError(
                    "needs no migration; see UpdateCollection", field=f"collection.{name}"
                )
        if not all(each.encoder for each in spec.vector_fields):
            raise EncoderMismatchError(
                "has vectors that callers bring: nothing can encode them anew", field="name"
            )
        fields = draft.vector_fields or tuple(_as_draft(each) for each in spec.vector_fields)
        for index, each in enumerate(fields):
            if not each.encoder:
                raise InvalidArgumentError(
                    "is needed: vectors that callers bring cannot be encoded anew",
                    field=f"collection.vector_fields[{index}].encoder",
                )
        kept = tuple(replace(each, added=False) for each in spec.attributes)
        specified = await self._collections.specify(
            replace(
                draft,
                id=spec.id,
                vector_fields=fields,
                attributes=draft.attributes or kept,
                partition_key=draft.partition_key or spec.partition_key,
                text_analyzer=draft.text_analyzer or spec.text_analyzer,
            )
        )
        return replace(specified, uid=spec.uid, create_time=spec.create_time)


def _as_draft(spec: VectorFieldSpec) -> VectorFieldDraft:
    return VectorFieldDraft(
        name=spec.name,
        encoder=spec.encoder,
        index=spec.index,
        source_attribute=spec.source_attribute,
    )


def _check_complete(found: Differences) -> None:
    if found:
        raise CollectionNotReadyError(
            f"the other side lacks {found.missing} entities, and has {found.stale} others in "
            "another generation; write them to it and repeat",
            field="name",
            metadata={"missing": str(found.missing), "stale": str(found.stale)},
        )


def _target_id(collection_id: str) -> str:
    """Return the usual id of a target; raises `InvalidArgumentError` where it would be too long."""
    if len(collection_id) + len(_SUFFIX) > _MAX_ID:
        raise InvalidArgumentError(
            f"is needed where the collection's id has more than {_MAX_ID - len(_SUFFIX)} "
            "characters",
            field="target_id",
        )
    return collection_id + _SUFFIX
