"""A lock that many hold together, or one alone: batches, and the one that may end the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Whoever waits to be alone goes before those who come later, so that its turn comes."""

    def __init__(self) -> None:
        self._moved = asyncio.Condition()
        self._together = 0
        self._alone = False
        self._waiting = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it beside others who share it."""
        async with self._moved:
            await self._moved.wait_for(lambda: not self._alone and not self._waiting)
            self._together += 1
        try:
            yield
        finally:
            self._together -= 1
            await self._tell()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold it while nobody else does."""
        async with self._moved:
            self._waiting += 1
            try:
                await self._moved.wait_for(lambda: not self._alone and not self._together)
                self._alone = True
            finally:
                self._waiting -= 1
                self._moved.notify_all()
        try:
            yield
        finally:
            self._alone = False
            await self._tell()

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()
