"""Compares the two sides of a migrating collection, entity by entity, beside the writers.

Both are read in the order of their ids, without holding anybody off. What differs is looked at once
more with the writers held off, since it may have been written in between. What the other side has
too much is deleted there; what it lacks, or has in another generation, is counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from lookalike_search.catalog import Catalog, StaleViewError
from lookalike_search.mirroring import in_step
from lookalike_search.model import Consistency, EntityRecord, Projection, StoredCollection
from lookalike_search.store import Freshness, VectorStore

_STRONG: Final = Freshness(consistency=Consistency.STRONG)
_SYSTEM_ONLY: Final = Projection(text=False, attributes=False)
_PAGE: Final = 2000
_AT_ONCE: Final = 500


@dataclass(slots=True)
class Differences:
    """What the other side of a collection has not."""

    missing: int = 0
    """Entities that are not there."""
    stale: int = 0
    """Entities of another generation or content."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.stale)


class Comparing:
    """Compares sides."""

    def __init__(self, store: VectorStore, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def settle(self, tenant: str, collection: StoredCollection) -> Differences:
        """Delete from the other side what is not here, and count what is not there."""
        found = Differences()
        some: list[str] = []
        async for entity_id in self._differing(tenant, collection):
            some.append(entity_id)
            if len(some) == _AT_ONCE:
                await self._look_again(tenant, collection, some, found)
                some = []
        if some:
            await self._look_again(tenant, collection, some, found)
        return found

    async def counts_agree(self, tenant: str, collection: StoredCollection) -> bool:
        """Whether both sides have as many entities; hold the writers off."""
        here = await self._store.count(tenant, collection)
        return here == await self._store.count(tenant, _other(collection))

    async def _differing(self, tenant: str, collection: StoredCollection) -> AsyncIterator[str]:
        """Yield the ids of entities that are not the same on both sides."""
        here = self._all(tenant, collection)
        there = self._all(tenant, _other(collection))
        one, other = await anext(here, None), await anext(there, None)
        while one is not None or other is not None:
            if other is None or (one is not None and one.id < other.id):
                yield one.id if one is not None else ""
                one = await anext(here, None)
            elif one is None or other.id < one.id:
                yield other.id
                other = await anext(there, None)
            else:
                if not in_step(one, other):
                    yield one.id
                one, other = await anext(here, None), await anext(there, None)

    async def _all(self, tenant: str, side: StoredCollection) -> AsyncIterator[EntityRecord]:
        after = ""
        while True:
            page = await self._store.scan(
                tenant, side, limit=_PAGE, after=after, projection=_SYSTEM_ONLY, freshness=_STRONG
            )
            for each in page:
                yield each
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def _look_again(
        self, tenant: str, collection: StoredCollection, ids: Sequence[str], found: Differences
    ) -> None:
        async with self._catalog.exclusively(tenant, collection):
            other = _other(collection)
            here, there = [
                await self._store.get(tenant, side, ids, projection=_SYSTEM_ONLY, freshness=_STRONG)
                for side in (collection, other)
            ]
            surplus = sorted(there.keys() - here.keys())
            if surplus:
                await self._store.delete(tenant, other, surplus)
        for entity_id, record in here.items():
            if entity_id not in there:
                found.missing += 1
            elif not in_step(record, there[entity_id]):
                found.stale += 1


def _other(collection: StoredCollection) -> StoredCollection:
    if collection.other is None:
        raise StaleViewError("the migration has ended meanwhile")
    return collection.other
