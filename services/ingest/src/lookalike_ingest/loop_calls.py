"""Lets the threads that split items ask other services, which only the event loop can.

A thread waits for its answer as long as it takes, also while a service is away. So whoever waits is
told off as soon as the batch ends: a thread that outlived it could keep the service from stopping.
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from lookalike_common.errors import CallCancelledError

T = TypeVar("T")


class LoopCalls:
    """Calls that threads make in the loop, and in the context, in which this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()  # Any: each call has a result of its own
        self._ended = False

    async def during(self, work: Coroutine[Any, Any, T]) -> T:  # Any: as in `gather_all`
        """Run a batch; calls that are open when it ends, however it ends, are cancelled."""
        task = asyncio.create_task(work)
        try:
            return await asyncio.shield(task)
        finally:
            self._end()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what an awaitable comes to; blocks. Raises CallCancelledError after the end."""
        with self._lock:
            if self._ended:
                raise CallCancelledError("the batch has ended")
            future = asyncio.run_coroutine_threadsafe(self._in_context(make), self._loop)
            self._open.add(future)
        try:
            return future.result()
        except CancelledError as error:
            raise CallCancelledError("the batch has ended") from error
        finally:
            with self._lock:
                self._open.discard(future)

    async def _in_context(self, make: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await make()

        return await self._loop.create_task(run(), context=self._context)

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            still_open = list(self._open)
        for future in still_open:
            future.cancel()
