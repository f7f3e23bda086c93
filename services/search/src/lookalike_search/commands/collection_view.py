"""What callers see of a collection: its facts, and how it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_search.model import Alias, CollectionStatus, StoredCollection
from lookalike_search.store import VectorStore


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionView:
    """A collection, and what is in it now."""

    id: str
    """The id or alias that the caller knows it by."""
    collection: StoredCollection
    status: CollectionStatus
    aliases: tuple[str, ...] = ()
    """Ids, sorted."""


async def view_collection(
    store: VectorStore,
    tenant: str,
    requested: str,
    collection: StoredCollection,
    aliases: Sequence[Alias] | None = None,
) -> CollectionView:
    """Look at a collection that was asked for by this id; `aliases` are all, where known."""
    if aliases is None:
        aliases = await store.list_aliases(tenant)
    return CollectionView(
        id=requested,
        collection=collection,
        status=await store.status(tenant, collection),
        aliases=tuple(each.id for each in aliases if each.collection_id == collection.spec.id),
    )
