"""What callers see of a collection: its facts, and how it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_search.model import Alias, StoredCollection
from lookalike_search.store import VectorStore


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionView:
    """A collection, and what is in it now."""

    id: str
    """The id or alias that the caller knows it by."""
    collection: StoredCollection
    entity_count: int = 0
    aliases: tuple[str, ...] = ()
    """Ids, sorted."""

    @property
    def memory_bytes(self) -> int:
        """Memory that its vectors take while loaded, estimated without the index."""
        return self.entity_count * sum(
            4 * each.dimensions for each in self.collection.spec.vector_fields
        )


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
        entity_count=await store.count(tenant, collection),
        aliases=tuple(each.id for each in aliases if each.collection_id == collection.spec.id),
    )
