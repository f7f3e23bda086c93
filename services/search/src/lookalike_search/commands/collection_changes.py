"""Changes what can be changed of a collection; each change is a new revision of its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from lookalike_common.errors import (
    ConcurrentChangeError,
    EtagMismatchError,
    InvalidArgumentError,
    UnsupportedByBackendError,
)
from lookalike_search.catalog import Catalog
from lookalike_search.commands.collection_view import CollectionView, view_collection
from lookalike_search.commands.collections import (
    check_attributes,
    check_etag,
    check_labels,
    check_ttl,
)
from lookalike_search.model import (
    LAYOUT,
    AttributeSpec,
    CollectionSettings,
    StoredCollection,
)
from lookalike_search.store import VectorStore

CHANGEABLE: Final = ("description", "labels", "ttl", "attributes")
"""What an update mask may name."""

_ATTEMPTS: Final = 5
_MAX_ATTRIBUTES: Final = 64  # as the protos say

Change = Callable[[StoredCollection], CollectionSettings]
"""From a collection to its next settings; the same object where nothing changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionUpdate:
    """New values for some fields of a collection."""

    paths: Sequence[str]
    etag: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ttl: timedelta | None = None
    attributes: tuple[AttributeSpec, ...] = ()


class CollectionChanges:
    """The commands that change a collection's settings."""

    def __init__(self, store: VectorStore, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def update(
        self, tenant: str, collection_id: str, update: CollectionUpdate
    ) -> CollectionView:
        """Change the fields that the update names."""
        _check_paths(update.paths)
        collection = await self._change(
            tenant,
            collection_id,
            lambda collection: _updated(collection, update),
            update.etag,
        )
        return await view_collection(self._store, tenant, collection_id, collection)

    async def load(self, tenant: str, collection_id: str, etag: str) -> CollectionView:
        """Bring a collection into memory, and keep it there."""
        self._catalog.forget(tenant, collection_id)
        collection = await self._catalog.resolve(tenant, collection_id)
        check_etag(collection, etag)
        await self._store.load(tenant, collection)
        collection = await self._change(tenant, collection_id, _marked(released=False), etag)
        return await view_collection(self._store, tenant, collection_id, collection)

    async def release(self, tenant: str, collection_id: str, etag: str) -> CollectionView:
        """Take a collection out of memory, and keep it out."""
        collection = await self._change(tenant, collection_id, _marked(released=True), etag)
        await self._store.release(tenant, collection)
        return await view_collection(self._store, tenant, collection_id, collection)

    async def optimize(self, tenant: str, collection_id: str) -> CollectionView:
        """Put a collection's storage in order."""
        self._catalog.forget(tenant, collection_id)
        collection = await self._catalog.resolve(tenant, collection_id)
        await self._store.optimize(tenant, collection)
        return await view_collection(self._store, tenant, collection_id, collection)

    async def _change(
        self, tenant: str, collection_id: str, change: Change, etag: str
    ) -> StoredCollection:
        """Store the next revision; with an etag, of what was read with it and nothing else."""
        for _ in range(_ATTEMPTS):
            self._catalog.forget(tenant, collection_id)
            collection = await self._catalog.resolve(tenant, collection_id)
            check_etag(collection, etag)
            settings = change(collection)
            if settings is collection.settings:
                return collection
            settings = replace(
                settings,
                revision=collection.settings.revision + 1,
                update_time=datetime.now(UTC),
            )
            try:
                return await self._store.revise(tenant, collection, settings)
            except EtagMismatchError:
                if etag:
                    raise
            finally:
                self._catalog.forget(tenant, collection_id)
                self._catalog.forget(tenant, collection.spec.id)
        raise ConcurrentChangeError("others change the collection at the same time; repeat")


def _marked(*, released: bool) -> Change:
    def change(collection: StoredCollection) -> CollectionSettings:
        settings = collection.settings
        return settings if settings.released is released else replace(settings, released=released)

    return change


def _check_paths(paths: Sequence[str]) -> None:
    if not paths:
        raise InvalidArgumentError("names no field", field="update_mask")
    for path in paths:
        if path not in CHANGEABLE:
            raise InvalidArgumentError(
                f"{path[:80]} is not among {', '.join(CHANGEABLE)}, which can be changed",
                field="update_mask",
            )


def _updated(collection: StoredCollection, update: CollectionUpdate) -> CollectionSettings:
    settings = collection.settings
    if "description" in update.paths:
        settings = replace(settings, description=update.description)
    if "labels" in update.paths:
        check_labels(update.labels)
        settings = replace(settings, labels=update.labels)
    if "ttl" in update.paths:
        check_ttl(update.ttl)
        _check_times(collection, update.ttl)
        settings = replace(settings, ttl=update.ttl)
    if "attributes" in update.paths:
        settings = replace(settings, attributes=_added(collection, update.attributes))
    return collection.settings if settings == collection.settings else settings


def _check_times(collection: StoredCollection, ttl: timedelta | None) -> None:
    if ttl is not None and collection.spec.layout < LAYOUT:
        raise UnsupportedByBackendError(
            "the collection is from a release that did not keep the times of writes; fill a new "
            "one, or migrate it",
            field="collection.ttl",
        )


def _added(
    collection: StoredCollection, wanted: Sequence[AttributeSpec]
) -> tuple[AttributeSpec, ...]:
    """Return the attributes that were not there at the creation; the others must be as they are."""
    check_attributes(wanted)
    if len(wanted) > _MAX_ATTRIBUTES:
        raise InvalidArgumentError(
            f"{len(wanted)} attributes, {_MAX_ATTRIBUTES} are allowed",
            field="collection.attributes",
        )
    present = {each.name: each for each in collection.spec.attributes}
    added = [each for each in present.values() if each.added]
    for index, each in enumerate(wanted):
        at = f"collection.attributes[{index}]"
        known = present.pop(each.name, None)
        if known is None:
            _check_addable(each, at)
            added.append(replace(each, added=True))
        elif replace(known, added=False) != each:
            raise InvalidArgumentError(f"{each.name} cannot be changed", field=at)
    if present:
        raise InvalidArgumentError(
            f"{', '.join(sorted(present))} cannot be removed", field="collection.attributes"
        )
    return tuple(added)


def _check_addable(attribute: AttributeSpec, at: str) -> None:
    if not attribute.nullable:
        raise InvalidArgumentError(
            f"{attribute.name} must be nullable: the entities that are there have no value",
            field=f"{at}.nullable",
        )
    if attribute.full_text:
        raise InvalidArgumentError(
            f"the words of {attribute.name} can be indexed from the creation on only",
            field=f"{at}.full_text",
        )
