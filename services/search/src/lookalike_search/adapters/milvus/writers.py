"""One writer at a time for each physical collection, and flushes after bursts of writes.

Writes are serialised so that reading, deciding and writing is one step; with Milvus Lite also
because its files need it. Where unflushed rows make reads slow (Lite looks at each of them in
Python), rows are flushed in small portions while writing goes on and soon after it pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from lookalike_common.errors import LookalikeError
from lookalike_search.adapters.milvus.failures import MilvusFailure

_logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Tenant and physical collection."""
Result = TypeVar("Result")


@dataclass(slots=True)
class _Writer:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    in_flight: set[asyncio.Task[object]] = field(default_factory=set)
    unflushed: int = 0
    flusher: asyncio.Task[None] | None = None
    wrote: asyncio.Event = field(default_factory=asyncio.Event)


class Writers:
    """The locks and the unflushed rows of one store."""

    def __init__(self, flush: Callable[[Key], Awaitable[None]]) -> None:
        self._flush = flush
        self._writers: dict[Key, _Writer] = {}

    @asynccontextmanager
    async def exclusive(self, key: Key) -> AsyncIterator[None]:
        """Hold off other writers, until every write begun inside has reached its end."""
        writer = self._writers.setdefault(key, _Writer())
        writer.users += 1
        try:
            async with writer.lock:
                try:
                    yield
                finally:
                    if writer.in_flight:  # the caller left; its write has not
                        await asyncio.wait(writer.in_flight)
        finally:
            writer.users -= 1
            self._forget_idle(key)

    async def to_the_end(self, key: Key, write: Coroutine[object, object, Result]) -> Result:
        """Run a write that goes on when its caller is cancelled; hold `exclusive` around it."""
        task = asyncio.create_task(write)
        in_flight = self._writers[key].in_flight
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
        return await asyncio.shield(task)

    def note(self, key: Key, rows: int, *, at_once: int, idle: timedelta) -> None:
        """Count written rows: flush when they are `at_once`, or after a pause of `idle`."""
        writer = self._writers[key]
        writer.unflushed += rows
        writer.wrote.set()
        if writer.flusher is None:
            writer.flusher = asyncio.create_task(self._flush_later(key, writer, at_once, idle))

    def unflushed(self, key: Key) -> int:
        """Return how many rows this process wrote that wait to be flushed."""
        writer = self._writers.get(key)
        return writer.unflushed if writer is not None else 0

    async def flush_now(self, key: Key) -> None:
        """Flush what was written until now."""
        async with self.exclusive(key):
            self._writers[key].unflushed = 0
            await self.to_the_end(key, _as_coroutine(self._flush(key)))

    @property
    def are_flushing(self) -> bool:
        """Whether rows wait to be flushed."""
        return any(each.flusher is not None for each in self._writers.values())

    async def close(self) -> None:
        """Stop flushing; what is not flushed is in the server's log all the same."""
        flushers = [each.flusher for each in self._writers.values() if each.flusher is not None]
        for each in flushers:
            each.cancel()
        if flushers:
            await asyncio.wait(flushers)

    async def _flush_later(self, key: Key, writer: _Writer, at_once: int, idle: timedelta) -> None:
        try:
            while writer.unflushed:
                await _pause(writer, at_once, idle)
                if writer.unflushed:
                    await self.flush_now(key)
        except (LookalikeError, MilvusFailure) as error:
            _logger.warning("could not flush %s: %s", key[1], error)
        finally:
            writer.flusher = None
            self._forget_idle(key)

    def _forget_idle(self, key: Key) -> None:
        writer = self._writers.get(key)
        if writer is not None and not writer.users and writer.flusher is None:
            del self._writers[key]


async def _pause(writer: _Writer, at_once: int, idle: timedelta) -> None:
    """Wait until enough was written, or nothing for a while."""
    while writer.unflushed < at_once:
        writer.wrote.clear()
        try:
            async with asyncio.timeout(idle.total_seconds()):
                await writer.wrote.wait()
        except TimeoutError:
            return


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work
