"""Who still uses a model that is about to be taken away.

A call asks the registry for an encoder, reads its request, perhaps in a thread, and then queues
its items, perhaps in several turns. Until all that is done the batcher it was given must live. So
every call gets a ticket of its own, and a ticket counts for as long as anybody holds it.
"""

from __future__ import annotations

import asyncio
import gc
import weakref

_PATIENCE = 2.0


class Leases:
    """The tickets that are out for one loaded model; for the event loop. They may die anywhere."""

    def __init__(self) -> None:
        self._tickets: set[weakref.ref[object]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._returned = asyncio.Event()

    def lend(self, ticket: object) -> None:
        """Count a ticket from now on until nobody refers to it."""
        self._tickets.add(weakref.ref(ticket, self._take_back))

    async def all_returned(self) -> None:
        """Return when no ticket is out any more; no new ones may be lent meanwhile."""
        self._loop = asyncio.get_running_loop()
        while self._tickets:
            self._returned.clear()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._returned.wait()
            except TimeoutError:
                gc.collect()  # a failed call leaves its ticket in a cycle of error and traceback

    def _take_back(self, ticket: weakref.ref[object]) -> None:
        self._tickets.discard(ticket)
        if self._loop and not self._tickets and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._returned.set)
