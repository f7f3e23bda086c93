"""Resolves collection ids to stored collections, remembering them for at most two seconds.

Two seconds bound how long another process's change of an alias stays unseen; whoever flips an
alias keeps the old collection for longer than that. A collection that was deleted and created
again has another storage name: the store answers NOT_FOUND for the old one, and `using` resolves
again, once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from lookalike_common.errors import NotFoundError
from lookalike_search.model import StoredCollection
from lookalike_search.store import VectorStore

Result = TypeVar("Result")

MAX_AGE: Final = timedelta(seconds=2)
COLLECTION: Final = "lookalike/Collection"
"""`resource_type` of a missing collection."""
_MAX_REMEMBERED: Final = 1024


class Catalog:
    """The collections of one store."""

    def __init__(
        self,
        store: VectorStore,
        *,
        max_age: timedelta = MAX_AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._max_age = max_age.total_seconds()
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, StoredCollection]] = {}

    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        """Return the published collection; raises `NotFoundError`."""
        found = self._known.get((tenant, collection_id))
        if found is not None and self._clock() - found[0] < self._max_age:
            return found[1]
        asked = self._clock()
        collection = await self._store.resolve(tenant, collection_id)
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        self._known[tenant, collection_id] = (asked, collection)
        return collection

    def forget(self, tenant: str, collection_id: str) -> None:
        """Resolve anew the next time."""
        self._known.pop((tenant, collection_id), None)

    async def using(
        self,
        tenant: str,
        collection_id: str,
        work: Callable[[StoredCollection], Awaitable[Result]],
    ) -> Result:
        """Resolve and work; when what was remembered turns out to be gone, do it once more."""
        collection = await self.resolve(tenant, collection_id)
        try:
            return await work(collection)
        except NotFoundError as error:
            if error.resource_type != COLLECTION:
                raise
            self.forget(tenant, collection_id)
            again = await self.resolve(tenant, collection_id)
            if again.storage == collection.storage:
                raise
            return await work(again)
