"""Resolves collection ids to stored collections, remembering them for at most two seconds.

Two seconds bound how long another process's change of an alias stays unseen; whoever flips an
alias keeps the old collection for longer than that. A collection that was deleted and created
again has another storage name: the store answers NOT_FOUND for the old one, and `using` resolves
again. So it does for a writer that finds, with the locks in its hands, that a migration began,
turned or ended since it resolved.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, TypeVar

from lookalike_common.errors import ConcurrentChangeError, NotFoundError
from lookalike_search.model import StoredCollection
from lookalike_search.store import VectorStore

Result = TypeVar("Result")

MAX_AGE: Final = timedelta(seconds=2)
COLLECTION: Final = "lookalike/Collection"
"""`resource_type` of a missing collection."""
_MAX_REMEMBERED: Final = 1024
_ATTEMPTS: Final = 5


class StaleViewError(ConcurrentChangeError):
    """What was resolved is no longer how things are; `Catalog.using` resolves again."""


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

    @property
    def max_age(self) -> timedelta:
        """How long a change may stay unseen."""
        return timedelta(seconds=self._max_age)

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
        """Resolve and work; when what was remembered turns out to be gone, do it again."""
        collection = await self.resolve(tenant, collection_id)
        for _ in range(_ATTEMPTS):
            try:
                return await work(collection)
            except StaleViewError:
                self.forget(tenant, collection_id)
                collection = await self.resolve(tenant, collection_id)
            except NotFoundError as error:
                if error.resource_type != COLLECTION:
                    raise
                self.forget(tenant, collection_id)
                again = await self.resolve(tenant, collection_id)
                if _sides(again) == _sides(collection):
                    raise
                collection = again
        raise ConcurrentChangeError("the collection changes all the time; repeat")

    @asynccontextmanager
    async def exclusively(self, tenant: str, collection: StoredCollection) -> AsyncIterator[None]:
        """Hold off other writers of a collection that is still as it was resolved.

        Raises `StaleViewError` where it is not: inside `using`, the work begins anew.
        """
        async with self._store.exclusive(tenant, collection):
            await self.confirm(tenant, collection)
            yield

    async def confirm(
        self, tenant: str, collection: StoredCollection, *, now: bool = False
    ) -> StoredCollection:
        """Return the collection as it is `now`, or was at most `max_age` ago.

        Raises `StaleViewError` where its sides are not those of `collection`.
        """
        if now:
            self.forget(tenant, collection.id)
        present = await self.resolve(tenant, collection.id)
        if _sides(present) != _sides(collection):
            raise StaleViewError("the collection was replaced meanwhile; repeat")
        return present


def _sides(collection: StoredCollection) -> tuple[str, str, bool]:
    other = collection.other
    return (collection.storage, other.storage if other else "", collection.is_shadow)
