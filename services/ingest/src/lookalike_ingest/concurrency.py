"""Running things side by side: coroutines until one fails or for ever, slices in threads."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_REST_SECONDS = 1


# Any: what a coroutine yields and receives is between it and the event loop.
async def gather_all(calls: Iterable[Coroutine[Any, Any, T]]) -> Sequence[T]:
    """Return all results in order, or raise the first error once nothing runs any more."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run_sliced(
    threads: Executor, things: Sequence[S], size: int, call: Callable[[Sequence[S]], T]
) -> Sequence[T]:
    """Call with so many things at a time, each slice in a thread; return the results in order."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(
            loop.run_in_executor(threads, call, things[first : first + size])
            for first in range(0, len(things), size)
        )
    )


async def keep_running(work: Callable[[], Awaitable[None]]) -> None:
    """Run what is to run for ever; a defect ends only one turn of it."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it is, the next turn may do better
            _LOG.exception("what runs beside the tasks failed; it begins again")
        await asyncio.sleep(_REST_SECONDS)
